//! Packages: who may publish them, with what, and what becomes of what was published.

use serde_json::{Value, json};

use super::accounts::somebody_with_codes;
use super::doors::Visitor;
use super::packages::Wheel;
use super::software;
use crate::public;
use crate::script::{Request, Script, Stop, Told, World};

/// The issuer of the canaries' identity tokens: a Forgejo of the canaries' own. The large public issuers are pinned to
/// RS256, and the canaries' keys are ES256.
const ISSUER: &str = "https://forge.canary.test/api/actions";

/// A day in seconds.
const DAY: i64 = 86_400;

/// Beyond every period of grace that a rule may give.
const GRACE: i64 = 60 * DAY;

/// The name of a canary's project.
pub(super) fn project(script: &Script<'_>, word: &str) -> String {
    let check: String = script
        .check
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .collect();
    format!("canary-{}-{word}", check.to_lowercase())
}

/// Somebody who may publish, and a token for everything of theirs.
pub(super) fn owner(script: &mut Script<'_>, name: &str) -> Told<(Visitor, String)> {
    let mut who = Visitor::new(script, name);
    who.sign_up_with_passkey(script)?;
    let token = who.token(script, "manage", "")?;
    let token = token.map_err(|_| Stop::Unknown("The canary was given no token.".to_owned()))?;
    Ok((who, token))
}

/// Publishes what must be taken, for what comes after.
pub(super) fn must(script: &mut Script<'_>, wheel: &Wheel, token: &str) -> Told<()> {
    let answer = wheel.publish(script, token)?;
    if answer.good() {
        return Ok(());
    }
    let said: String = answer.text().chars().take(120).collect();
    Err(Stop::Unknown(format!(
        "The canary could not publish ({}): {said}",
        answer.status
    )))
}

/// Does a refusal speak of a factor, and not of something else that is wrong with the canary?
fn for_want_of_a_factor(text: &str) -> bool {
    let text = text.to_lowercase();
    ["factor", "passkey", "security key", "2fa"]
        .iter()
        .any(|word| text.contains(word))
}

/// Does an account without what a rule demands publish: at once, and after every period of grace?
fn demanded(script: &mut Script<'_>, mut who: Visitor, mark: bool, what: &str) -> Told<()> {
    let name = project(script, "thing");
    let token = match who.token(script, "publish", "")? {
        Ok(token) => token,
        Err(text) if for_want_of_a_factor(&text) => {
            script.hold(&format!("{what} is given no token"), true);
            return Ok(());
        }
        Err(_) => return Err(Stop::Unknown("The canary was given no token.".to_owned())),
    };
    let first = Wheel::new(&name, "1.0", "one = 1").publish(script, &token)?;
    let at_once = first.refused() && for_want_of_a_factor(&first.text());
    if !first.good() && !at_once {
        return Err(Stop::Unknown(format!(
            "The canary could not publish ({}).",
            first.status
        )));
    }
    if at_once {
        script.hold(&format!("{what} can not publish from the first day"), true);
        return Ok(());
    }
    if mark {
        let (code, _) = script.operator(&["admin", "critical", "mark", &format!("pypi:{name}")])?;
        if code != 0 {
            return Err(Stop::Unknown(
                "The operator could not mark the package as critical.".to_owned(),
            ));
        }
    }
    // A token that outlasts the period of grace; whether it does is seen below, by why it is refused.
    let words = [
        "admin",
        "token",
        "create",
        "--user",
        &who.name,
        "--action",
        "publish",
        "--expires",
        "365d",
    ];
    let (code, out) = script.operator(&words)?;
    let token = out.trim().to_owned();
    if code != 0 || token.is_empty() {
        return Err(Stop::Unknown(
            "The operator could not make a token for the canary.".to_owned(),
        ));
    }
    script.world(World::Turn(GRACE))?;
    let late = Wheel::new(&name, "2.0", "two = 2").publish(script, &token)?;
    if late.refused() && !for_want_of_a_factor(&late.text()) {
        return Err(Stop::Unknown(format!(
            "The canary was refused for another reason than the factor ({}).",
            late.status
        )));
    }
    script.hold(
        &format!("{what} can not publish once the period of notice is over"),
        late.refused(),
    );
    if !mark {
        script.prefer(&format!("{what} can not publish from the first day"), false);
        script.say("A new account publishes without the factor until its period of notice ends.");
    }
    Ok(())
}

pub(super) fn everybody_needs_a_factor(script: &mut Script<'_>) -> Told<()> {
    let mut who = Visitor::new(script, "ann");
    who.sign_up(script)?;
    demanded(script, who, false, "an account without a second factor")
}

pub(super) fn critical_needs_a_factor(script: &mut Script<'_>) -> Told<()> {
    let mut who = Visitor::new(script, "ann");
    who.sign_up(script)?;
    demanded(
        script,
        who,
        true,
        "an owner of a critical package without a second factor",
    )
}

pub(super) fn critical_needs_a_phishproof_factor(script: &mut Script<'_>) -> Told<()> {
    let (who, _) = somebody_with_codes(script, "ann")?;
    demanded(
        script,
        who,
        true,
        "an owner of a critical package with codes only",
    )
}

pub(super) fn tokens_are_scoped(script: &mut Script<'_>) -> Told<()> {
    let (mut ann, token) = owner(script, "ann")?;
    let (one, two) = (project(script, "one"), project(script, "two"));
    must(script, &Wheel::new(&one, "1.0", "a = 1"), &token)?;
    must(script, &Wheel::new(&two, "1.0", "a = 1"), &token)?;
    let narrow = ann.token(script, "publish", &one)?;
    if !script.hold("a token can be limited to one package", narrow.is_ok()) {
        return Ok(());
    }
    let narrow = narrow.unwrap_or_default();
    let within = Wheel::new(&one, "2.0", "a = 2")
        .publish(script, &narrow)?
        .good();
    script.hold("it publishes that package", within);
    let beyond = Wheel::new(&two, "2.0", "a = 2").publish(script, &narrow)?;
    script.hold(
        "it does not publish another package of the same owner",
        beyond.refused(),
    );
    let fresh = project(script, "three");
    let founded = Wheel::new(&fresh, "1.0", "a = 1").publish(script, &narrow)?;
    script.hold("it does not make a new package", founded.refused());
    Ok(())
}

pub(super) fn tokens_are_recognisable(script: &mut Script<'_>) -> Told<()> {
    let (mut ann, first) = owner(script, "ann")?;
    let second = ann.token(script, "publish", "")?.unwrap_or_default();
    let prefix = script
        .target
        .profile
        .places
        .token_prefix
        .clone()
        .unwrap_or_default();
    let shared: String = first
        .chars()
        .zip(second.chars())
        .take_while(|(a, b)| a == b)
        .map(|(a, _)| a)
        .collect();
    script.hold(
        "tokens begin with a prefix that they share",
        shared.len() >= 4 && shared.contains('_'),
    );
    script.hold(
        "it is the prefix that the profile names",
        !prefix.is_empty() && first.starts_with(&prefix),
    );
    script.hold(
        "the rest can not be guessed",
        first.len() >= shared.len() + 32 && first != second,
    );
    let changed: String = first
        .chars()
        .rev()
        .enumerate()
        .map(|(at, c)| {
            if at == 9 {
                if c == 'a' { 'b' } else { 'a' }
            } else {
                c
            }
        })
        .collect();
    let changed: String = changed.chars().rev().collect();
    let sound = |text: &str| countersign_trust::token::Token::parse(text).is_ok();
    script.prefer(
        "a checksum tells a token from what only looks like one",
        sound(&first) && !sound(&changed),
    );
    Ok(())
}

pub(super) fn roles_differ(script: &mut Script<'_>) -> Told<()> {
    let (mut ann, token) = owner(script, "ann")?;
    let (mut bob, bobs) = owner(script, "bob")?;
    let name = project(script, "thing");
    must(script, &Wheel::new(&name, "1.0", "a = 1"), &token)?;
    let before = Wheel::new(&name, "1.1", "a = 1").publish(script, &bobs)?;
    script.hold("who has no role does not publish", before.refused());
    let page = format!("/projects/pypi/{name}/settings");
    ann.get(script, &page)?;
    let given = ann.post(
        script,
        &format!("{page}/role"),
        &[("user", &bob.name), ("role", "publisher")],
    )?;
    if !matches!(given.status, 200 | 302 | 303) {
        script.hold("an owner can let somebody publish", false);
        return Ok(());
    }
    let published = Wheel::new(&name, "1.2", "a = 2")
        .publish(script, &bobs)?
        .good();
    script.hold("an owner can let somebody publish", published);
    bob.get(script, "/account")?;
    let bobs_name = bob.name.clone();
    let risen = bob.post(
        script,
        &format!("{page}/role"),
        &[("user", &bobs_name), ("role", "owner")],
    )?;
    let led_away = risen
        .header("location")
        .is_some_and(|to| to.contains("role-set"));
    script.hold("who may publish can not give roles", !led_away);
    let deleted = bob.post(script, &format!("{page}/delete"), &[("name", &name)])?;
    drop(deleted.text());
    let still = script.get(&format!("/project/pypi/{name}/"))?;
    script.hold("who may publish can not delete the package", still.good());
    Ok(())
}

/// What a job of the canary's workflow says of itself.
pub(super) fn claims(audience: &str, now: i64, id: &str, repository: &str) -> Value {
    json!({
        "iss": ISSUER, "aud": audience, "iat": now, "nbf": now, "exp": now + 300, "jti": id,
        "sub": format!("repo:{repository}:ref:refs/tags/v1.0"),
        "repository": repository, "repository_id": "74", "repository_owner": "canary-owner", "repository_owner_id": "9",
        "ref": "refs/tags/v1.0", "ref_type": "tag", "ref_protected": "false", "head_ref": "", "base_ref": "",
        "sha": "7b1fd5d2f37f4e5fa65a7b5d1c6d2e1f0a9b8c7d", "workflow": "release.yml",
        "workflow_ref": format!("{repository}/.forgejo/workflows/release.yml@refs/tags/v1.0"),
        "event_name": "push", "run_id": "4521", "run_number": "17", "run_attempt": "1",
        "actor": "canary", "actor_id": "1234567",
    })
}

/// Lets the operator name the canaries' issuer; whether that could be done.
pub(super) fn known_issuer(script: &mut Script<'_>) -> Told<bool> {
    let target = script.target;
    for (url, body) in [
        (
            format!("{ISSUER}/.well-known/openid-configuration"),
            json!({"issuer": ISSUER, "jwks_uri": format!("{ISSUER}/keys")}).to_string(),
        ),
        (format!("{ISSUER}/keys"), software::jwks(target)),
    ] {
        script.world(World::Publish { url, body })?;
    }
    let known = [
        "admin", "issuer", "add", "canary", "--url", ISSUER, "--preset", "forgejo",
    ];
    let (code, _) = script.operator(&known)?;
    Ok(code == 0)
}

pub(super) fn trusted_publishing(script: &mut Script<'_>) -> Told<()> {
    let target = script.target;
    let known = known_issuer(script)?;
    if !script.hold("the operator can name an issuer", known) {
        return Ok(());
    }
    let (mut ann, token) = owner(script, "ann")?;
    let name = project(script, "thing");
    must(script, &Wheel::new(&name, "1.0", "a = 1"), &token)?;
    let page = format!("/projects/pypi/{name}/settings");
    ann.get(script, &page)?;
    let fields = [
        ("issuer", "canary"),
        ("field.owner", "canary-owner"),
        ("field.repository", "sample"),
        ("field.workflow", "release.yml"),
    ];
    let added = ann.post(script, &format!("{page}/publishers"), &fields)?;
    script.hold(
        "an owner can name the workflow that publishes",
        matches!(added.status, 200 | 302 | 303),
    );
    let audience = script.get("/_/oidc/audience")?.json();
    let audience = audience["audience"].as_str().unwrap_or_default().to_owned();
    if !script.hold(
        "the registry says for whom identity tokens are to be made",
        !audience.is_empty(),
    ) {
        return Ok(());
    }
    let now = script.now();
    let exchange = |script: &mut Script<'_>, identity: &str| {
        let body = json!({"token": identity}).to_string();
        let request = Request::send("POST", script.target.address("/_/oidc/mint-token"), body)
            .header("content-type", "application/json");
        script.http(request).cloned()
    };
    let stranger = software::identity_token(
        target,
        &claims(&audience, now, "canary-1", "canary-owner/other"),
    );
    let refused = exchange(script, &stranger)?;
    script.hold(
        "another repository of the same owner is given no token",
        refused.refused(),
    );
    let elsewhere = software::identity_token(
        target,
        &claims("another-registry", now, "canary-2", "canary-owner/sample"),
    );
    let refused = exchange(script, &elsewhere)?;
    script.hold(
        "an identity token for another registry is worth nothing",
        refused.refused(),
    );
    let identity = software::identity_token(
        target,
        &claims(&audience, now, "canary-3", "canary-owner/sample"),
    );
    let minted = exchange(script, &identity)?;
    let value = minted.json();
    let short = value["token"].as_str().unwrap_or_default().to_owned();
    if !script.hold(
        "the workflow's identity token is exchanged for a token",
        minted.good() && !short.is_empty(),
    ) {
        return Ok(());
    }
    let again = exchange(script, &identity)?;
    script.hold("an identity token is good once", again.refused());
    let published = Wheel::new(&name, "1.1", "a = 2")
        .publish(script, &short)?
        .good();
    script.hold("the token publishes", published);
    script.world(World::Turn(3_601))?;
    let late = Wheel::new(&name, "1.2", "a = 3").publish(script, &short)?;
    script.hold("after an hour it is worth nothing", late.refused());
    Ok(())
}

pub(super) fn leaked_tokens_end(script: &mut Script<'_>) -> Told<()> {
    let target = script.target;
    script.world(World::Publish {
        url: "https://api.github.com/meta/public_keys/secret_scanning".to_owned(),
        body: software::scanner_keys(target),
    })?;
    let (ann, token) = owner(script, "ann")?;
    let name = project(script, "thing");
    must(script, &Wheel::new(&name, "1.0", "a = 1"), &token)?;
    let report = json!([{"token": token, "type": "canary", "url": "https://example.org/leak", "source": "content"}]).to_string();
    let send = |script: &mut Script<'_>, signature: String| {
        let request = Request::send(
            "POST",
            script.target.address("/_/secrets/disclose-token"),
            report.clone(),
        )
        .header("content-type", "application/json")
        .header("github-public-key-identifier", "canary")
        .header("github-public-key-signature", signature);
        script.http(request).cloned()
    };
    let forged = send(
        script,
        software::scanner_signature(target, b"something else"),
    )?;
    script.hold(
        "a report with a forged signature is refused",
        forged.refused(),
    );
    must(script, &Wheel::new(&name, "1.1", "a = 2"), &token)?;
    let taken = send(
        script,
        software::scanner_signature(target, report.as_bytes()),
    )?;
    script.hold("a scanner's signed report is taken", taken.good());
    let dead = Wheel::new(&name, "1.2", "a = 3").publish(script, &token)?;
    script.hold("the token is worth nothing right after", dead.refused());
    let told = script.mail(&ann.email, "leaked")?.is_some();
    script.hold("its holder is told by mail", told);
    Ok(())
}

pub(super) fn lookalikes_are_hindered(script: &mut Script<'_>) -> Told<()> {
    let (_, anns) = owner(script, "ann")?;
    let (_, bobs) = owner(script, "bob")?;
    must(
        script,
        &Wheel::new("canary-lookalike", "1.0", "a = 1"),
        &anns,
    )?;
    for (what, name) in [
        ("without its separator", "canarylookalike"),
        ("with a one for an l", "canary-1ookalike"),
    ] {
        let tried = Wheel::new(name, "1.0", "a = 1").publish(script, &bobs)?;
        script.hold(
            &format!("a new name that is a known one {what} is stopped"),
            tried.refused(),
        );
    }
    let list = script.world(World::Write {
        name: "canary-names.txt".to_owned(),
        body: b"canary-lookalike\n".to_vec(),
    })?;
    let (code, _) = script.operator(&[
        "admin",
        "names",
        "import",
        "--ecosystem",
        "pypi",
        "--list",
        "canaries",
        list,
    ])?;
    script.hold("the operator can protect known names", code == 0);
    for (what, name) in [
        ("with one letter more", "canary-loookalike"),
        ("with two letters swapped", "canary-lookailke"),
    ] {
        let tried = Wheel::new(name, "1.0", "a = 1").publish(script, &bobs)?;
        // It may be taken and kept back until somebody looked at the name.
        let stopped = tried.refused() || !offered(script, name)?;
        script.hold(
            &format!("a new name that is a protected one {what} is stopped or held"),
            stopped,
        );
    }
    Ok(())
}

/// Are installers offered a file of a project?
fn offered(script: &mut Script<'_>, name: &str) -> Told<bool> {
    let page = script.get(&format!("/pypi/simple/{name}/"))?;
    Ok(page.good() && page.text().contains(".whl"))
}

pub(super) fn files_never_change(script: &mut Script<'_>) -> Told<()> {
    let (_, token) = owner(script, "ann")?;
    let name = project(script, "thing");
    let first = Wheel::new(&name, "1.0", "a = 1");
    must(script, &first, &token)?;
    let second = Wheel::new(&name, "1.0", "a = 2");
    let replaced = second.publish(script, &token)?;
    script.hold(
        "other bytes under the same name are refused",
        replaced.refused(),
    );
    let file = script.get(&format!("/files/{}/{}", first.sha256(), first.filename))?;
    script.hold(
        "the first bytes are served",
        file.good() && file.body == first.bytes,
    );
    let other = script.get(&format!("/files/{}/{}", second.sha256(), second.filename))?;
    script.hold("the others are not", !other.good());
    Ok(())
}

pub(super) fn names_are_not_given_away(script: &mut Script<'_>) -> Told<()> {
    let (mut ann, anns) = owner(script, "ann")?;
    let (_, bobs) = owner(script, "bob")?;
    let name = project(script, "thing");
    must(script, &Wheel::new(&name, "1.0", "a = 1"), &anns)?;
    let page = format!("/projects/pypi/{name}/settings");
    ann.get(script, &page)?;
    let asked = ann.post(script, &format!("{page}/delete"), &[("name", &name)])?;
    if asked
        .header("location")
        .is_some_and(|to| to.contains("approvals"))
    {
        ann.approve(script)?;
        ann.get(script, &page)?;
        ann.post(script, &format!("{page}/delete"), &[("name", &name)])?;
    }
    let left = script.get(&format!("/pypi/simple/{name}/"))?;
    if left.good() && left.text().contains(".whl") {
        // Where nobody may delete, nothing can be given away.
        script.say("The owner can not delete the package, so that its name stays theirs.");
    }
    let taken = Wheel::new(&name, "2.0", "b = 1").publish(script, &bobs)?;
    script.hold(
        "nobody else takes the name of a deleted package",
        taken.refused(),
    );
    let same = Wheel::new(&name, "1.0", "b = 1").publish(script, &bobs)?;
    script.hold("nobody else takes a deleted version", same.refused());
    let back = Wheel::new(&name, "1.0", "c = 1").publish(script, &anns)?;
    script.hold(
        "nor does its owner fill it with other bytes",
        back.refused(),
    );
    Ok(())
}

/// Publishes a package that can be reported; its name.
fn reportable(script: &mut Script<'_>) -> Told<String> {
    let (_, token) = owner(script, "ann")?;
    let name = project(script, "thing");
    must(script, &Wheel::new(&name, "1.0", "a = 1"), &token)?;
    Ok(name)
}

pub(super) fn page_takes_reports(script: &mut Script<'_>) -> Told<()> {
    let name = reportable(script)?;
    let page = script.get(&format!("/project/pypi/{name}/"))?;
    let control = public::report_control(&page.text());
    if !script.hold("the page of a package leads to a report", control.is_some()) {
        return Ok(());
    }
    let form = script.get(&control.unwrap_or_default().replace("&amp;", "&"))?;
    script.hold(
        "there is a form to report it",
        form.good() && form.text().contains("<form"),
    );
    Ok(())
}

pub(super) fn client_takes_reports(script: &mut Script<'_>) -> Told<()> {
    let name = reportable(script)?;
    let site = script.target.site.clone();
    let purl = format!("pkg:pypi/{name}");
    let (code, out) = script.client(&[
        "--registry",
        &site,
        "report",
        &purl,
        "--kind",
        "malware",
        "--evidence",
        "https://example.org/evidence",
        "--text",
        "A canary's report: nothing is wrong with it.",
    ])?;
    script.hold("the client reports a package", code == 0 && !out.is_empty());
    let (code, _) = script.client(&[
        "--registry",
        &site,
        "report",
        "pkg:pypi/canary-nothing-such",
        "--kind",
        "malware",
    ])?;
    script.hold("and says so where there is no such package", code != 0);
    Ok(())
}

pub(super) fn api_takes_reports(script: &mut Script<'_>) -> Told<()> {
    let described = script.get("/api/v1/openapi.json")?.json();
    let operation = &described["paths"]["/api/v1/reports"]["post"];
    if !script.hold(
        "an API that takes reports is described",
        operation.is_object(),
    ) {
        return Ok(());
    }
    let name = reportable(script)?;
    let report = json!({
        "purl": format!("pkg:pypi/{name}"), "kind": "malware", "text": "A canary's report: nothing is wrong with it.",
        "evidence": "https://example.org/evidence",
    });
    let request = Request::send(
        "POST",
        script.target.address("/api/v1/reports"),
        report.to_string(),
    )
    .header("content-type", "application/json");
    let taken = script.http(request)?;
    script.hold("it takes a report", taken.good());
    let ticket = ["ticket", "id", "status_url"]
        .iter()
        .any(|member| taken.json()[member].is_string());
    script.hold("it answers with a ticket", ticket);
    Ok(())
}

pub(super) fn events_are_logged(script: &mut Script<'_>) -> Told<()> {
    let (_, token) = owner(script, "ann")?;
    let wheel = Wheel::new(&project(script, "thing"), "1.0", "a = 1");
    must(script, &wheel, &token)?;
    public::log_of_events(script)?;
    let proof = script.get(&format!(
        "/files/{}/{}.tlog-proof",
        wheel.sha256(),
        wheel.filename
    ))?;
    let proven = countersign_trust::proof::TlogProof::parse(&proof.body)
        .ok()
        .and_then(|proof| proof.extra)
        .is_some_and(|entry| String::from_utf8_lossy(&entry).contains(&wheel.sha256()));
    script.hold(
        "the canary's publication is an event of the log",
        proof.good() && proven,
    );
    Ok(())
}

/// The text that every scanner knows and that harms nobody (EICAR), put together here so that no scanner finds this
/// program.
fn test_text() -> String {
    let halves = [
        "X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR-STANDARD",
        "-ANTIVIRUS-TEST-FILE!$H+H*",
    ];
    halves.concat()
}

pub(super) fn uploads_are_scanned(script: &mut Script<'_>) -> Told<()> {
    let (_, token) = owner(script, "ann")?;
    let name = project(script, "thing");
    let text = format!("marker = r'{}'", test_text());
    let published = Wheel::new(&name, "1.0", &text).publish(script, &token)?;
    if published.refused() {
        script.hold("an upload with the test text of scanners is stopped", true);
        return Ok(());
    }
    // The scanner works behind the publication.
    if script.world(World::Round("scans".to_owned()))? == "off" {
        script.hold("what is published is scanned", false);
        script.say("The scanner is not switched on: scan.enabled.");
        return Ok(());
    }
    let (code, out) = script.operator(&["--json", "admin", "scan", "findings"])?;
    if code != 0 {
        script.hold("there is a list of what the scanner found", false);
        return Ok(());
    }
    let found = out.contains(&name);
    script.hold("an upload with the test text of scanners is found", found);
    let digest = out.contains("sha256") || out.contains("digest");
    script.prefer("the finding names digest and place", found && digest);
    Ok(())
}

/// An advisory about version 1.0 of a project, in OSV's form.
pub(super) fn advisory(id: &str, project: &str) -> Vec<u8> {
    json!({
        "schema_version": "1.6.0", "id": id, "modified": "2026-01-02T00:00:00Z", "published": "2026-01-01T00:00:00Z",
        "summary": "A canary's advisory",
        "affected": [{
            "package": {"ecosystem": "PyPI", "name": project},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "1.1"}]}],
            "versions": ["1.0"],
        }],
    })
    .to_string()
    .into_bytes()
}

pub(super) fn page_warns(script: &mut Script<'_>) -> Told<()> {
    let (_, token) = owner(script, "ann")?;
    let (library, user) = (project(script, "library"), project(script, "user"));
    must(script, &Wheel::new(&library, "1.0", "a = 1"), &token)?;
    let depends = format!("{library}==1.0");
    must(
        script,
        &Wheel::depending(&user, "1.0", "a = 1", &depends),
        &token,
    )?;
    let file = script.world(World::Write {
        name: "CANARY-2026-24.json".to_owned(),
        body: advisory("CANARY-2026-24", &library),
    })?;
    let (code, _) = script.operator(&["advisories", "import", file])?;
    if !script.hold("advisories in OSV's form can be imported", code == 0) {
        return Ok(());
    }
    let page = script.get(&format!("/project/pypi/{library}/1.0/"))?;
    script.hold(
        "the page of the vulnerable release names the advisory",
        page.text().contains("CANARY-2026-24"),
    );
    let page = script.get(&format!("/project/pypi/{user}/1.0/"))?;
    script.hold(
        "the page of a release that depends on it does, too",
        page.text().contains("CANARY-2026-24"),
    );
    Ok(())
}

pub(super) fn malware_becomes_a_record(script: &mut Script<'_>) -> Told<()> {
    let (_, token) = owner(script, "ann")?;
    let name = project(script, "thing");
    must(script, &Wheel::new(&name, "1.0", "a = 1"), &token)?;
    let words = [
        "admin",
        "quarantine",
        "add",
        &name,
        "--malware",
        "--reason",
        "malware (a canary's)",
    ];
    let (code, _) = script.operator(&words)?;
    if !script.hold("the operator can withhold a package", code == 0) {
        return Ok(());
    }
    public::malware_feed(script)
}
