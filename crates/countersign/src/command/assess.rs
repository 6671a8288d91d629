//! `assess`: a registry held against the Principles.

use std::path::Path;

use countersign::assess::{Order, assess, is_local};
use countersign::ci::variable;
use countersign::{Exit, Failure};
use countersign_assess::assessment::{self, Assessment};
use countersign_assess::profile::{self, Profile};
use countersign_assess::{principles, report, roadmap};
use countersign_trust::note::{SignedNote, SignerKey};
use serde_json::json;

use super::{authorities, line, notes};
use crate::cli::{Assess, AssessCommand, Common};

/// The variable with the token to which a registry consented.
const TOKEN: &str = "COUNTERSIGN_ASSESS_TOKEN";

/// Runs it.
pub fn run(common: &Common, options: &Assess) -> Result<(), Failure> {
    if let Some(AssessCommand::Explain { id }) = &options.what {
        return explain(common, id.as_deref());
    }
    let Some(url) = &options.url else {
        return Err(
            Failure::new(Exit::Usage, "no-registry", "No registry is named.")
                .remedy("countersign assess URL"),
        );
    };
    let profile = match &options.profile {
        None => Profile::default(),
        Some(path) => {
            let text = String::from_utf8(read(path, profile::MOST)?)
                .map_err(|_| unusable(path, "it is not UTF-8"))?;
            Profile::parse(&text, now()).map_err(|error| {
                let said = format!("{}: {error}", path.display());
                Failure::new(Exit::Usage, "profile", said)
                    .remedy("docs/assessment.md shows a whole profile.")
            })?
        }
    };
    // What can be wrong on this machine is said before anybody is asked.
    let earlier = options.since.as_deref().map(earlier).transpose()?;
    let key = options.sign.as_deref().map(signer).transpose()?;
    let canaries = match (options.allow_canary, variable(TOKEN)) {
        (false, _) => None,
        (true, Some(token)) => Some(token),
        (true, None) => {
            let said = format!(
                "--allow-canary takes the token to which the registry consents, in {TOKEN}."
            );
            return Err(Failure::new(Exit::Usage, "no-consent-token", said)
                .remedy("The registry publishes its SHA-256 at /.well-known/registry-assessment.json (docs/assessment.md)."));
        }
    };
    let ca = authorities(common)?;
    let order = Order {
        url,
        profile,
        canaries,
        ca: ca.as_deref(),
        own: is_local(url),
    };
    let tell = notes(common);
    let (made, recordings) = assess(order, &|probe| tell(&format!("probing {probe}")))?;
    let steps = roadmap::steps(&made);
    let changed = earlier.as_ref().map(|earlier| made.since(earlier));
    if let Some(path) = &options.markdown {
        write(path, &report::markdown(&made, &steps, changed.as_deref()))?;
    }
    if let Some(path) = &options.badge {
        write(path, &report::badge(&made))?;
    }
    let text = json_text(&made)?;
    if let Some(path) = &options.recordings {
        let text = serde_json::to_string(&recordings)
            .map_err(|error| unwritten(path, &error.to_string()))?;
        write(path, &text)?;
    }
    if let (Some(key), Some(path)) = (key, &options.signature) {
        write(path, &signed(&key, &made, &text)?)?;
    }
    if common.json {
        let mut value = json!(made);
        if let Some(changed) = &changed {
            value["changes"] = json!(changed);
        }
        if options.roadmap {
            value["roadmap"] = json!(steps);
        }
        line(&value.to_string());
        return Ok(());
    }
    line(&report::table(&made));
    if let Some(changed) = &changed {
        line(&format!("\n{}", report::changes(changed)));
    }
    if options.roadmap {
        line(&format!("\n{}", report::roadmap(&steps)));
    }
    Ok(())
}

/// The assessment as it is signed: JSON on one line.
fn json_text(made: &Assessment) -> Result<String, Failure> {
    serde_json::to_string(made)
        .map_err(|error| Failure::new(Exit::Environment, "assessment-unwritten", error.to_string()))
}

fn signed(key: &SignerKey, made: &Assessment, text: &str) -> Result<String, Failure> {
    let digest = countersign_trust::digest::Sha256::of(text.as_bytes());
    let note = format!(
        "{}\n{}\n{}\nsha256:{digest}\n",
        assessment::FORMAT,
        made.target,
        made.time
    );
    let signature = key.sign_text(&note);
    SignedNote::new(note, vec![signature])
        .map(|note| note.to_string())
        .map_err(|error| Failure::new(Exit::Environment, "assessment-unsigned", error.to_string()))
}

fn signer(path: &Path) -> Result<SignerKey, Failure> {
    let text =
        String::from_utf8(read(path, 64 << 10)?).map_err(|_| unusable(path, "it is not UTF-8"))?;
    SignerKey::parse_private(text.trim()).map_err(|error| unusable(path, &error.to_string()))
}

fn earlier(path: &Path) -> Result<Assessment, Failure> {
    let bytes = read(path, assessment::MOST)?;
    Assessment::parse(&bytes).map_err(|error| {
        unusable(path, &error.to_string())
            .remedy("Give a file that `countersign assess URL --json` wrote.")
    })
}

fn explain(common: &Common, id: Option<&str>) -> Result<(), Failure> {
    let checks: Vec<_> = match id {
        None => principles::all().iter().collect(),
        Some(id) => vec![principles::find(id).ok_or_else(|| {
            let ids: Vec<&str> = principles::all()
                .iter()
                .map(|check| check.id.as_str())
                .collect();
            Failure::new(
                Exit::Usage,
                "no-such-check",
                format!("There is no check {id:?}."),
            )
            .remedy(format!("There are: {}.", ids.join(", ")))
        })?],
    };
    if common.json {
        let list: Vec<_> = checks
            .iter()
            .map(|check| {
                json!({
                    "id": check.id, "track": check.track(), "level": check.level, "title": check.title,
                    "statement": check.statement, "applies": check.applies, "grades": check.grades,
                    "impact": check.impact, "effort_weeks": check.effort, "improve": check.improve,
                    "link": principles::LINK,
                })
            })
            .collect();
        line(&json!({"principles": principles::VERSION, "checks": list}).to_string());
        return Ok(());
    }
    match (id, checks.as_slice()) {
        (Some(_), [check]) => line(&report::explain(check)),
        _ => checks.iter().for_each(|check| {
            line(&format!(
                "{:<7} level {}  {}",
                check.id, check.level, check.title
            ));
        }),
    }
    Ok(())
}

fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    })
}

fn unusable(path: &Path, why: &str) -> Failure {
    let said = format!("{} can not be used: {why}.", path.display());
    Failure::new(Exit::Usage, "file-unusable", said)
}

fn unwritten(path: &Path, why: &str) -> Failure {
    let said = format!("{} can not be written: {why}.", path.display());
    Failure::new(Exit::Environment, "file-unwritten", said)
}

fn read(path: &Path, most: usize) -> Result<Vec<u8>, Failure> {
    use std::io::Read as _;
    let file = std::fs::File::open(path).map_err(|error| unusable(path, &error.to_string()))?;
    let mut bytes = Vec::new();
    file.take(most as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| unusable(path, &error.to_string()))?;
    if bytes.len() > most {
        return Err(unusable(path, &format!("it has more than {most} bytes")));
    }
    Ok(bytes)
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    std::fs::write(path, text).map_err(|error| unwritten(path, &error.to_string()))
}
