//! What pages say of builds, in a real browser: on a phone and on a desk, light and dark, by keyboard, without scripts.

use std::path::PathBuf;

use countersign_testkit::browser::Browser;
use countersign_testkit::packages::Sdist;

use super::Stage;
use crate::trusted::release;

/// Takes pictures below `COUNTERSIGN_PICTURES`, where that is set, to be looked at.
fn pictures(browser: &Browser, url: &str, name: &str) {
    let Some(folder) = std::env::var_os("COUNTERSIGN_PICTURES").map(PathBuf::from) else {
        return;
    };
    std::fs::create_dir_all(&folder).unwrap();
    for (width, height) in [(1280, 1800), (390, 3000)] {
        for dark in [false, true] {
            browser.set_viewport(width, height).unwrap();
            browser.set_dark(dark).unwrap();
            browser.goto(url).unwrap();
            let scheme = if dark { "dark" } else { "light" };
            let path = folder.join(format!("{name}-{width}-{scheme}.png"));
            browser.screenshot(&path).unwrap();
        }
    }
    browser.set_viewport(1280, 800).unwrap();
    browser.set_dark(false).unwrap();
}

#[test]
fn the_security_section_is_found_and_followed_by_keyboard_without_scripts_and_has_no_faults() {
    let stage = Stage::start();
    stage.base.project_with_publisher("sample", &[]);
    for package in [
        release("sample", "1.1"),
        Sdist::new("sample", "1.1").readme("# Hello\n").build(),
    ] {
        stage.publish_attested(&package).expect_status(200).unwrap();
    }
    let opened = ["exception", "sample", "--level", "workflow", "--hours", "2"];
    let why = ["--reason", "the signing service is down"];
    let admin = [&["--json", "admin", "provenance"], &opened[..], &why[..]].concat();
    stage.base.server.run(&admin).unwrap();
    let lower = release("sample", "1.2");
    let token = stage.base.minted();
    stage
        .publish(&lower, &token, "")
        .expect_status(200)
        .unwrap();

    let url = stage.base.server.url();
    let browser = Browser::start().unwrap();
    browser.set_page_scripts(false).unwrap();
    let attested = format!("{url}/project/pypi/sample/1.1/");
    browser.goto(&attested).unwrap();
    let text = |selector: &str| browser.find(selector).unwrap().text().unwrap();
    assert!(text("#security").contains("Security"));
    assert!(text("[aria-labelledby=source]").contains("octo/sample"));
    assert!(text("[aria-labelledby=build]").contains("release.yml"));
    assert!(text(".statement .signed").starts_with("Signed by release.yml of "));
    assert!(text(".entries").contains("ransparency log entry"));
    assert_eq!(browser.count("[aria-labelledby=departure]").unwrap(), 0);
    // The link at the side leads to its panel, by keyboard alone.
    let link = browser.find(".side-security a[href='#build']").unwrap();
    link.send_keys("\u{E007}").unwrap();
    assert!(browser.url().unwrap().ends_with("#build"));
    browser.set_page_scripts(true).unwrap();
    browser.goto(&format!("{attested}#build")).unwrap();
    let focused = browser
        .execute(
            "document.querySelector('#build').focus(); return document.activeElement.id",
            &[],
        )
        .unwrap();
    assert_eq!(focused, "build");
    // The three panels are of one height, side by side on a desk and one above the other on a phone.
    let boxes = |width| {
        browser.set_viewport(width, 900).unwrap();
        browser.goto(&attested).unwrap();
        let found = browser
            .execute(
                "return [...document.querySelectorAll('.panels .panel')].map(p => { const b = p.getBoundingClientRect(); return [Math.round(b.left), Math.round(b.top), Math.round(b.height), Math.round(b.right)] })",
                &[],
            )
            .unwrap();
        let rows = found.as_array().unwrap().clone();
        assert_eq!(rows.len(), 3, "{rows:?}");
        let of =
            |at: usize| -> Vec<i64> { rows.iter().map(|row| row[at].as_i64().unwrap()).collect() };
        (of(0), of(1), of(2), of(3))
    };
    let (left, top, height, _) = boxes(1280);
    assert!(left[0] < left[1] && left[1] < left[2], "{left:?}");
    assert!(top.iter().all(|one| *one == top[0]) && height.iter().all(|one| *one == height[0]));
    let (left, top, _, right) = boxes(390);
    assert!(left.iter().all(|one| *one == left[0]) && top[0] < top[1] && top[1] < top[2]);
    assert!(right.iter().all(|one| *one <= 390), "{right:?}");

    let departed = format!("{url}/project/pypi/sample/1.2/");
    browser.goto(&departed).unwrap();
    let warning = browser.find("aside[aria-labelledby=departure]").unwrap();
    let warning = warning.text().unwrap();
    assert!(warning.contains("the signing service is down"), "{warning}");
    let mut faults = Vec::new();
    for (name, page) in [
        ("attested", attested),
        ("departed", departed),
        ("project", format!("{url}/project/pypi/sample/")),
        ("help", format!("{url}/help/provenance")),
        ("verify", format!("{url}/help/verify")),
    ] {
        pictures(&browser, &page, name);
        faults.extend(browser.second_opinion(&page).unwrap());
        faults.extend(browser.faults_in_all_views(&page).unwrap());
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
