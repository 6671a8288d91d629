//! Headless Chromium through ChromeDriver (both Debian's), by the WebDriver protocol: enough to walk through pages as a
//! person does, to take pictures in both colour schemes and at any width, and to check accessibility by rules of our own.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::http;
use crate::machine::{Leash, first_existing};

const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";
const FIND_LIMIT: Duration = Duration::from_secs(30);

/// A browser window of its own, with an empty profile.
#[derive(Debug)]
pub struct Browser {
    driver: Child,
    session: String,
    _leash: Leash,
    _profile: TempDir,
}

impl Browser {
    /// Starts a browser at 1280 by 800, light colours. Takes a second or two.
    pub fn start() -> Result<Self> {
        let chromium = program(&["chromium", "chromium-browser", "google-chrome"])?;
        let mut driver = Command::new(program(&["chromedriver"])?);
        driver
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let driver = driver.spawn().context("cannot start chromedriver")?;
        let profile = tempfile::Builder::new()
            .prefix("countersign-browser-")
            .tempdir()?;
        let leash = Leash::tie(driver.id(), Some(profile.path()))?;
        let mut browser = Self {
            driver,
            session: String::new(),
            _leash: leash,
            _profile: profile,
        };
        let output = browser
            .driver
            .stdout
            .take()
            .context("its output was piped")?;
        let port = port_of(BufReader::new(output))?;
        let base = format!("http://127.0.0.1:{port}");
        let arguments = [
            "--headless=new".to_owned(),
            "--no-sandbox".to_owned(),
            "--disable-gpu".to_owned(),
            "--disable-quic".to_owned(),
            "--disable-dev-shm-usage".to_owned(),
            "--no-first-run".to_owned(),
            "--disable-background-networking".to_owned(),
            "--disable-component-update".to_owned(),
            "--disable-sync".to_owned(),
            "--hide-scrollbars".to_owned(),
            "--force-color-profile=srgb".to_owned(),
            format!("--user-data-dir={}", browser._profile.path().display()),
        ];
        let capabilities = json!({"capabilities": {"alwaysMatch": {
            "browserName": "chrome",
            "acceptInsecureCerts": true,
            "goog:chromeOptions": {"binary": chromium, "args": arguments},
            "goog:loggingPrefs": {"browser": "ALL"},
        }}});
        let answer = call("POST", &format!("{base}/session"), &capabilities)
            .context("Chromium does not start")?;
        let id = answer["sessionId"]
            .as_str()
            .context("the driver named no session")?;
        browser.session = format!("{base}/session/{id}");
        browser.set_viewport(1280, 800)?;
        Ok(browser)
    }

    fn post(&self, command: &str, body: &Value) -> Result<Value> {
        call("POST", &format!("{}/{command}", self.session), body)
    }

    fn get(&self, command: &str) -> Result<Value> {
        call("GET", &format!("{}/{command}", self.session), &Value::Null)
    }

    /// Calls a method of the browser's debugging protocol.
    pub fn devtools(&self, method: &str, parameters: Value) -> Result<Value> {
        self.post(
            "goog/cdp/execute",
            &json!({"cmd": method, "params": parameters}),
        )
    }

    /// Opens an address and waits until it is loaded.
    pub fn goto(&self, url: &str) -> Result<()> {
        self.post("url", &json!({ "url": url })).map(drop)
    }

    /// The address shown.
    pub fn url(&self) -> Result<String> {
        Ok(self.get("url")?.as_str().unwrap_or_default().to_owned())
    }

    /// The document's title.
    pub fn title(&self) -> Result<String> {
        Ok(self.get("title")?.as_str().unwrap_or_default().to_owned())
    }

    /// Sets the size of the page's window in CSS pixels; below 500 wide it behaves as a phone.
    pub fn set_viewport(&self, width: u32, height: u32) -> Result<()> {
        let metrics = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500});
        self.devtools("Emulation.setDeviceMetricsOverride", metrics)
            .map(drop)
    }

    /// Says that the person prefers dark (or light) colours.
    pub fn set_dark(&self, dark: bool) -> Result<()> {
        let scheme = if dark { "dark" } else { "light" };
        let media = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.devtools("Emulation.setEmulatedMedia", media).map(drop)
    }

    /// Switches the page's own JavaScript off or on; holds from the next page on.
    pub fn set_page_scripts(&self, enabled: bool) -> Result<()> {
        self.devtools(
            "Emulation.setScriptExecutionDisabled",
            json!({ "value": !enabled }),
        )
        .map(drop)
    }

    /// Runs the body of a function in the page; its arguments are `arguments`, what it returns comes back.
    pub fn execute(&self, script: &str, arguments: &[Value]) -> Result<Value> {
        self.post(
            "execute/sync",
            &json!({"script": script, "args": arguments}),
        )
    }

    /// The first element that a CSS selector finds, waiting for it up to ten seconds.
    pub fn find(&self, selector: &str) -> Result<Element<'_>> {
        let begin = Instant::now();
        loop {
            let found = self.post(
                "element",
                &json!({"using": "css selector", "value": selector}),
            );
            match found {
                Ok(value) => {
                    let id = value[ELEMENT]
                        .as_str()
                        .context("the driver named no element")?
                        .to_owned();
                    return Ok(Element { browser: self, id });
                }
                Err(error) if begin.elapsed() > FIND_LIMIT => {
                    return Err(
                        error.context(format!("nothing matches {selector:?} at {}", self.url()?))
                    );
                }
                Err(_) => std::thread::sleep(Duration::from_millis(50)),
            }
        }
    }

    /// How many elements a CSS selector finds now.
    pub fn count(&self, selector: &str) -> Result<usize> {
        let found = self.post(
            "elements",
            &json!({"using": "css selector", "value": selector}),
        )?;
        Ok(found.as_array().map_or(0, Vec::len))
    }

    /// The document as it stands, as HTML.
    pub fn dom(&self) -> Result<String> {
        Ok(self.get("source")?.as_str().unwrap_or_default().to_owned())
    }

    /// Writes a picture of the whole page, not only of the window, as PNG.
    pub fn screenshot(&self, path: &Path) -> Result<()> {
        let picture = self.devtools(
            "Page.captureScreenshot",
            json!({"format": "png", "captureBeyondViewport": true}),
        )?;
        let bytes = STANDARD.decode(picture["data"].as_str().context("no picture")?)?;
        std::fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
    }

    /// What the page complained about since the last call: errors of scripts, of the content security policy, of
    /// missing files.
    pub fn complaints(&self) -> Result<Vec<String>> {
        let entries = self.post("se/log", &json!({"type": "browser"}))?;
        let entries = entries.as_array().cloned().unwrap_or_default();
        let severe = entries
            .iter()
            .filter(|entry| matches!(entry["level"].as_str(), Some("SEVERE" | "WARNING")));
        Ok(severe
            .map(|entry| entry["message"].as_str().unwrap_or_default().to_owned())
            .collect())
    }

    /// Faults of the page shown, in words: labels, alternative texts, order of headings, names of controls, landmarks,
    /// contrast, sideways scrolling. Empty when there are none.
    pub fn accessibility_faults(&self) -> Result<Vec<String>> {
        let faults = self.execute(include_str!("accessibility.js"), &[])?;
        let faults = faults.as_array().context("the checks returned no list")?;
        Ok(faults
            .iter()
            .map(|fault| fault.as_str().unwrap_or_default().to_owned())
            .collect())
    }

    /// The faults of one address in all four views: wide and 360 pixels, light and dark; each fault once, with the
    /// first view that shows it.
    pub fn faults_in_all_views(&self, url: &str) -> Result<Vec<String>> {
        let mut faults: Vec<(String, String)> = Vec::new();
        for (width, height) in [(1280, 800), (360, 740)] {
            for dark in [false, true] {
                self.set_viewport(width, height)?;
                self.set_dark(dark)?;
                self.goto(url)?;
                let view = format!("{width} px, {}", if dark { "dark" } else { "light" });
                let found = self
                    .accessibility_faults()?
                    .into_iter()
                    .chain(self.complaints()?);
                for fault in found {
                    if !faults.iter().any(|(known, _)| *known == fault) {
                        faults.push((fault, view.clone()));
                    }
                }
            }
        }
        self.set_viewport(1280, 800)?;
        self.set_dark(false)?;
        Ok(faults
            .into_iter()
            .map(|(fault, view)| format!("{url} ({view}): {fault}"))
            .collect())
    }

    /// What axe-core finds on one address, wide and 390 pixels, light and dark: a second opinion, by hand, where `COUNTERSIGN_AXE` names
    /// its script; nothing elsewhere.
    pub fn second_opinion(&self, url: &str) -> Result<Vec<String>> {
        let Some(path) = std::env::var_os("COUNTERSIGN_AXE") else {
            return Ok(Vec::new());
        };
        let axe = std::fs::read_to_string(path).context("COUNTERSIGN_AXE can not be read")?;
        let script = format!(
            "{axe}; return axe.run({{runOnly: ['wcag2a', 'wcag2aa', 'wcag21aa', 'wcag22aa', 'best-practice']}}).then(found => \
             [found.passes.length, found.violations.map(one => one.id + ': ' + one.nodes.map(node => node.target.join(' ')).join(', '))])"
        );
        let mut faults = Vec::new();
        for (width, dark) in [(1280, false), (1280, true), (390, false), (390, true)] {
            self.set_viewport(width, 900)?;
            self.set_dark(dark)?;
            self.goto(url)?;
            let found = self.execute(&script, &[])?;
            println!(
                "axe {url} ({width} px, dark {dark}): {} rules pass",
                found[0]
            );
            for fault in found[1].as_array().context("axe returned no list")? {
                faults.push(format!("axe: {url} ({width} px, dark {dark}): {fault}"));
            }
        }
        self.set_viewport(1280, 800)?;
        self.set_dark(false)?;
        Ok(faults)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Ends Chromium; errors mean that it is gone already.
        if !self.session.is_empty() {
            let _ = http::request("DELETE", &self.session, &[], &[]);
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

/// An element of the page that the browser shows.
#[derive(Debug)]
pub struct Element<'a> {
    browser: &'a Browser,
    id: String,
}

impl Element<'_> {
    /// Clicks it, and waits for the page that this may load.
    pub fn click(&self) -> Result<()> {
        self.browser
            .post(&format!("element/{}/click", self.id), &json!({}))
            .map(drop)
    }

    /// Types text into it; `\u{E007}` is the Enter key.
    pub fn send_keys(&self, text: &str) -> Result<()> {
        self.browser
            .post(
                &format!("element/{}/value", self.id),
                &json!({ "text": text }),
            )
            .map(drop)
    }

    /// Empties a field.
    pub fn clear(&self) -> Result<()> {
        self.browser
            .post(&format!("element/{}/clear", self.id), &json!({}))
            .map(drop)
    }

    /// Its text as shown.
    pub fn text(&self) -> Result<String> {
        Ok(self
            .browser
            .get(&format!("element/{}/text", self.id))?
            .as_str()
            .unwrap_or_default()
            .to_owned())
    }

    /// An attribute, if it has it.
    pub fn attribute(&self, name: &str) -> Result<Option<String>> {
        let value = self
            .browser
            .get(&format!("element/{}/attribute/{name}", self.id))?;
        Ok(value.as_str().map(str::to_owned))
    }
}

/// A picture of one page in a window of that size.
pub fn screenshot(url: &str, width: u32, height: u32, dark: bool, path: &Path) -> Result<()> {
    let browser = Browser::start()?;
    browser.set_viewport(width, height)?;
    browser.set_dark(dark)?;
    browser.goto(url)?;
    browser.screenshot(path)
}

/// The document behind an address after its scripts have run, as HTML.
pub fn dump_dom(url: &str) -> Result<String> {
    let browser = Browser::start()?;
    browser.goto(url)?;
    browser.dom()
}

fn program(names: &[&str]) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = [PathBuf::from("/usr/bin")]
        .into_iter()
        .chain(std::env::split_paths(&path))
        .collect();
    let candidates = names
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    first_existing(candidates).with_context(|| {
        format!(
            "{} is not installed; browser tests need it. \
             On Debian: apt-get install --no-install-recommends chromium chromium-driver",
            names[0]
        )
    })
}

fn port_of(output: impl BufRead + Send + 'static) -> Result<u16> {
    let mut lines = output.lines();
    for line in lines.by_ref().take(20) {
        let line = line?;
        let Some((_, rest)) = line.split_once("started successfully on port ") else {
            continue;
        };
        let port = rest
            .trim_end_matches('.')
            .parse()
            .with_context(|| format!("no port in {line:?}"))?;
        // Someone must go on reading, or the driver would stand still once its pipe is full.
        std::thread::spawn(move || lines.for_each(drop));
        return Ok(port);
    }
    bail!("chromedriver ended without naming its port")
}

fn call(method: &str, url: &str, body: &Value) -> Result<Value> {
    let body = if body.is_null() {
        Vec::new()
    } else {
        serde_json::to_vec(body)?
    };
    let response = http::request(method, url, &[("Content-Type", "application/json")], &body)?;
    let answer = response.json()?;
    let value = answer["value"].clone();
    let error = value["error"].as_str();
    ensure!(
        response.status == 200 && error.is_none(),
        "{}: {}",
        error.unwrap_or("the driver failed"),
        value["message"]
            .as_str()
            .unwrap_or_default()
            .lines()
            .next()
            .unwrap_or_default()
    );
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(html: &str) -> String {
        format!("data:text/html;base64,{}", STANDARD.encode(html))
    }

    const GOOD: &str = "<!doctype html><html lang=en><meta charset=utf-8><title>Good</title>\
        <meta name=viewport content='width=device-width'><meta name=color-scheme content='light dark'>\
        <main><h1>Hello</h1><h2>World</h2><p>Text <a href=#x>link</a></p><img src='data:,' alt=''>\
        <label>Name <input name=n></label><button onclick=\"document.title='Pressed'\">Press</button></main>";

    #[test]
    fn chromium_walks_through_a_page_and_takes_a_picture() {
        let browser = Browser::start().unwrap();
        browser.goto(&page(GOOD)).unwrap();
        assert_eq!(browser.find("h1").unwrap().text().unwrap(), "Hello");
        browser.find("input").unwrap().send_keys("typed").unwrap();
        assert_eq!(
            browser
                .execute("return document.querySelector('input').value", &[])
                .unwrap(),
            "typed"
        );
        browser.find("button").unwrap().click().unwrap();
        assert_eq!(browser.title().unwrap(), "Pressed");
        assert_eq!(browser.count("h2").unwrap(), 1);
        let folder = tempfile::tempdir().unwrap();
        let (light, dark) = (
            folder.path().join("light.png"),
            folder.path().join("dark.png"),
        );
        browser.screenshot(&light).unwrap();
        browser.set_dark(true).unwrap();
        browser.screenshot(&dark).unwrap();
        let (light, dark) = (std::fs::read(light).unwrap(), std::fs::read(dark).unwrap());
        assert!(light.starts_with(b"\x89PNG") && light != dark);
    }

    #[test]
    fn a_good_page_has_no_faults_and_each_fault_is_found() {
        let browser = Browser::start().unwrap();
        assert_eq!(
            browser.faults_in_all_views(&page(GOOD)).unwrap(),
            Vec::<String>::new()
        );
        for (html, fault) in [
            ("<img src='data:,'>", "alternative text"),
            ("<input name=q>", "without a label: name=q"),
            ("<h3>Deep</h3>", "heading level 3 follows 1"),
            ("<h1>Second</h1>", "first-level heading"),
            (
                "<p style='color:#aaa;background:#fff'>Pale</p>",
                "contrast 2.",
            ),
            ("<div style='width:900px'>Wide</div>", "wide in a window"),
            (
                "<a href=/x></a><a href=/x><span></span></a><button></button>",
                "",
            ),
            (
                "<button style='width:9px;height:9px'></button>",
                "control without a name",
            ),
            ("<p id=a></p><p id=a></p>", "two elements have the id a"),
            (
                "<table><tr><td>1</td></tr></table>",
                "table without header cells",
            ),
        ] {
            let html = format!(
                "<!doctype html><html lang=en><title>T</title><meta name=viewport content='width=device-width'>\
                 <main><h1>Head</h1>{html}</main>"
            );
            browser.set_viewport(360, 740).unwrap();
            browser.goto(&page(&html)).unwrap();
            let faults = browser.accessibility_faults().unwrap();
            assert!(
                faults.iter().any(|found| found.contains(fault)),
                "{fault}: {faults:?}"
            );
        }
    }

    #[test]
    fn a_browser_leaves_nothing_behind() {
        let browser = Browser::start().unwrap();
        let profile = browser._profile.path().to_owned();
        drop(browser);
        assert!(!profile.exists());
        // What was killed is gone when the kernel comes to it.
        let begin = Instant::now();
        loop {
            let processes = Command::new("ps").args(["-eo", "args"]).output().unwrap();
            let processes = String::from_utf8_lossy(&processes.stdout).into_owned();
            if !processes.contains(profile.to_str().unwrap()) {
                break;
            }
            assert!(begin.elapsed() < Duration::from_secs(20), "{processes}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}
