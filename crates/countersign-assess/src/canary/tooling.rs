//! The client: pinned installs, warnings, bills of materials, fixes, reachability.

use super::packages::Wheel;
use super::publishing::{advisory, must, owner, project};
use crate::script::{Script, Told, World};

/// Writes a file into the folder in which the client runs.
fn write(script: &mut Script<'_>, name: &str, body: &[u8]) -> Told<String> {
    let path = script.world(World::Write {
        name: name.to_owned(),
        body: body.to_vec(),
    })?;
    Ok(path.to_owned())
}

/// Pins the registry, as a user does once.
fn pin(script: &mut Script<'_>) -> Told<()> {
    let site = script.target.site.clone();
    script.client(&["trust", "add", &site, "--yes"]).map(drop)
}

/// A vulnerable project, 1.0, with its fix, 1.1, its lock file and the advisory; the paths of both.
fn vulnerable(script: &mut Script<'_>) -> Told<(String, String, String)> {
    let (_, token) = owner(script, "ann")?;
    let name = project(script, "thing");
    let (old, new) = (
        Wheel::new(&name, "1.0", "a = 1"),
        Wheel::new(&name, "1.1", "a = 2"),
    );
    must(script, &old, &token)?;
    must(script, &new, &token)?;
    let check = script.check.replace('.', "-");
    let site = script.target.site.clone();
    let lock = format!(
        "--index-url {site}/pypi/simple/\n{name}==1.0 --hash=sha256:{}\n",
        old.sha256()
    );
    let lock = write(
        script,
        &format!("requirements-{check}.txt"),
        lock.as_bytes(),
    )?;
    let id = format!("CANARY-2026-{check}");
    let advisories = write(script, &format!("{id}.json"), &advisory(&id, &name))?;
    pin(script)?;
    Ok((name, lock, advisories))
}

pub(super) fn changed_bytes_are_refused(script: &mut Script<'_>) -> Told<()> {
    let (_, token) = owner(script, "ann")?;
    let wheel = Wheel::new(&project(script, "thing"), "1.0", "a = 1");
    must(script, &wheel, &token)?;
    pin(script)?;
    let path = write(script, &wheel.filename, &wheel.bytes)?;
    let (code, _) = script.client(&["verify", &path])?;
    script.hold(
        "the client accepts the bytes that were published",
        code == 0,
    );
    let mut changed = wheel.bytes.clone();
    // One bit of the module's text.
    if let Some(byte) = changed.get_mut(60) {
        *byte ^= 1;
    }
    let path = write(script, &wheel.filename, &changed)?;
    let (code, _) = script.client(&["verify", &path])?;
    script.hold("the client refuses them with one byte changed", code == 3);
    Ok(())
}

pub(super) fn installs_warn(script: &mut Script<'_>) -> Told<()> {
    let (_, lock, advisories) = vulnerable(script)?;
    let (code, _) = script.client(&["install-check", "--advisories", &advisories, &lock])?;
    script.hold(
        "before an install the client stops at what is known to be vulnerable",
        code == 3,
    );
    let none = write(script, "requirements-none.txt", b"# nothing\n")?;
    let (code, _) = script.client(&["install-check", "--advisories", &advisories, &none])?;
    script.hold("and lets pass what is not", code == 0);
    Ok(())
}

pub(super) fn bill_of_materials(script: &mut Script<'_>) -> Told<()> {
    let (name, lock, _) = vulnerable(script)?;
    let (code, out) = script.client(&["sbom", &lock])?;
    let bill: serde_json::Value = serde_json::from_str(out).unwrap_or_default();
    let listed = bill["components"].as_array().is_some_and(|list| {
        list.iter()
            .any(|component| component["name"] == name.as_str())
    });
    script.hold(
        "the client writes CycloneDX",
        code == 0 && bill["bomFormat"] == "CycloneDX",
    );
    script.hold("it lists what the lock file holds", listed);
    let (code, out) = script.client(&["sbom", "--form", "spdx", &lock])?;
    let bill: serde_json::Value = serde_json::from_str(out).unwrap_or_default();
    let spdx = bill["spdxVersion"]
        .as_str()
        .is_some_and(|version| version.starts_with("SPDX-"));
    script.prefer("the client writes SPDX", code == 0 && spdx);
    Ok(())
}

pub(super) fn fixes(script: &mut Script<'_>) -> Told<()> {
    let (_, lock, advisories) = vulnerable(script)?;
    let (code, _) = script.client(&["audit", "--advisories", &advisories, &lock])?;
    if !script.hold("the client finds the vulnerable version", code == 3) {
        return Ok(());
    }
    let (code, _) = script.client(&["fix", "--apply", "--advisories", &advisories, &lock])?;
    script.hold("it moves the lock file to another version", code == 0);
    let (code, _) = script.client(&["audit", "--advisories", &advisories, &lock])?;
    script.hold("after that it finds nothing", code == 0);
    Ok(())
}

pub(super) fn reachability(script: &mut Script<'_>) -> Told<()> {
    let (name, lock, advisories) = vulnerable(script)?;
    let module = name.replace('-', "_");
    let reached = format!("import {module}\nprint({module}.a)\n");
    write(script, "main.py", reached.as_bytes())?;
    let words = [
        "--json",
        "audit",
        "--reach",
        "--advisories",
        &advisories,
        &lock,
    ];
    let (code, with) = script.client(&words)?;
    if !script.hold(
        "the client looks for what the project's code reaches",
        code == 3 && !with.is_empty(),
    ) {
        return Ok(());
    }
    write(script, "main.py", b"print('nothing')\n")?;
    let (_, without) = script.client(&words)?;
    script.hold(
        "what is imported is told from what is not",
        with != without && !without.is_empty(),
    );
    Ok(())
}
