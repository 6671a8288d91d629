// YARA rules that come along where countersignd is built with the feature `yara`: twins of the built-in rules
// (rules.toml of the registry's scanner), of the same names, weights and meaning. What both find counts once.
// Global variables: docs/spec/scan-rules.md.

rule pth_runs_code {
  meta:
    title = "A .pth file that decodes, downloads or starts something whenever Python starts"
    score = 90
  strings:
    $a0 = "base64" nocase
    $a1 = "subprocess" nocase
    $a2 = "urlopen" nocase
    $a3 = "urlretrieve" nocase
    $a4 = "requests" nocase
    $a5 = "socket" nocase
    $a6 = "marshal" nocase
    $a7 = "zlib" nocase
    $a8 = "popen" nocase
    $a9 = "os.system" nocase
    $a10 = "codecs.decode" nocase
    $shape = /(^|\n)import[ \t]/
  condition:
    filename matches /\.(pth)$/ and
    any of ($a*) and
    $shape
}

rule python_decodes_and_runs {
  meta:
    title = "Python that decodes something and runs it"
    score = 60
    entry = 85
    install = 95
  strings:
    $a0 = "exec" nocase
    $a1 = "eval" nocase
    $b0 = "b64decode" nocase
    $b1 = "b85decode" nocase
    $b2 = "unhexlify" nocase
    $b3 = "zlib" nocase
    $b4 = "marshal" nocase
    $b5 = "lzma" nocase
    $b6 = "codecs" nocase
    $shape = /\b(exec|eval)\s*\(\s*(compile\s*\(\s*)?(__import__\s*\(\s*['"](base64|zlib|marshal|lzma|codecs)['"]\s*\)|(base64|zlib|marshal|lzma|codecs))\s*\.\s*(b64decode|b85decode|decompress|loads|decode)\s*\(/
  condition:
    filename matches /\.(py|pyw|pth)$/ and
    any of ($a*) and
    any of ($b*) and
    $shape
}

rule install_downloads_and_runs {
  meta:
    title = "Installation that downloads something and starts programs"
    install = 45
  strings:
    $a0 = "urlopen" nocase
    $a1 = "urlretrieve" nocase
    $a2 = "requests.get" nocase
    $a3 = "https.get(" nocase
    $a4 = "http.get(" nocase
    $a5 = "axios" nocase
    $a6 = "fetch(" nocase
    $a7 = "reqwest" nocase
    $a8 = "ureq" nocase
    $a9 = "curl " nocase
    $a10 = "wget " nocase
    $a11 = "tcpstream" nocase
    $b0 = "subprocess" nocase
    $b1 = "os.system" nocase
    $b2 = "popen" nocase
    $b3 = "child_process" nocase
    $b4 = "execsync" nocase
    $b5 = "spawn(" nocase
    $b6 = "command::new" nocase
    $b7 = "exec(" nocase
  condition:
    (filename matches /\.(py|js|cjs|mjs|sh|rs)$/ or filename endswith "package.json") and
    any of ($a*) and
    any of ($b*)
}

rule install_pipes_to_shell {
  meta:
    title = "Installation that gives a download to a shell"
    install = 90
  strings:
    $a0 = "curl" nocase
    $a1 = "wget" nocase
    $shape = /\b(curl|wget)\b[^\n|;&]{0,300}\|\s*(sudo\s+)?(ba|z|da)?sh\b/i
  condition:
    any of ($a*) and
    $shape
}

rule install_reads_credentials_and_sends {
  meta:
    title = "Installation that reads files of credentials and talks to the network"
    install = 95
  strings:
    $a0 = ".aws/credentials" nocase
    $a1 = ".npmrc" nocase
    $a2 = ".pypirc" nocase
    $a3 = ".ssh/id_" nocase
    $a4 = ".netrc" nocase
    $a5 = ".docker/config" nocase
    $a6 = ".kube/config" nocase
    $a7 = ".cargo/credentials" nocase
    $a8 = ".config/gcloud" nocase
    $a9 = ".git-credentials" nocase
    $a10 = ".gnupg" nocase
    $a11 = "login data" nocase
    $a12 = "wallet.dat" nocase
    $b0 = "urlopen" nocase
    $b1 = "requests." nocase
    $b2 = "http.client" nocase
    $b3 = "https.request" nocase
    $b4 = "http.request" nocase
    $b5 = "fetch(" nocase
    $b6 = "axios" nocase
    $b7 = "xmlhttprequest" nocase
    $b8 = "socket" nocase
    $b9 = "reqwest" nocase
    $b10 = "ureq" nocase
    $b11 = "curl" nocase
    $b12 = "wget" nocase
    $b13 = "tcpstream" nocase
    $b14 = "webhook" nocase
  condition:
    (filename matches /\.(py|pth|js|cjs|mjs|sh|rs)$/ or filename endswith "package.json") and
    any of ($a*) and
    any of ($b*)
}

rule sweeps_credentials_and_sends {
  meta:
    title = "Reads the credentials of many programs and talks to the network"
    score = 85
  strings:
    $a0 = ".aws/credentials" nocase
    $b0 = ".npmrc" nocase
    $b1 = ".pypirc" nocase
    $b2 = ".cargo/credentials" nocase
    $b3 = ".git-credentials" nocase
    $c0 = ".ssh/id_" nocase
    $c1 = ".ssh" nocase
    $c2 = ".kube/config" nocase
    $c3 = ".docker/config" nocase
    $d0 = "urlopen" nocase
    $d1 = "requests." nocase
    $d2 = "http.client" nocase
    $d3 = "https.request" nocase
    $d4 = "fetch(" nocase
    $d5 = "axios" nocase
    $d6 = "socket" nocase
    $d7 = "reqwest" nocase
    $d8 = "ureq" nocase
    $d9 = "curl" nocase
    $d10 = "webhook" nocase
  condition:
    filename matches /\.(py|pth|js|cjs|mjs|ts|sh|rs)$/ and
    $a0 and
    any of ($b*) and
    any of ($c*) and
    any of ($d*)
}

rule install_sends_environment {
  meta:
    title = "Installation that sends the environment away"
    install = 85
  strings:
    $a0 = "json.stringify(process.env" nocase
    $a1 = "dict(os.environ" nocase
    $a2 = "os.environ.items(" nocase
    $a3 = "os.environ.copy(" nocase
    $a4 = "str(os.environ" nocase
    $a5 = "json.dumps(os.environ" nocase
    $a6 = "object.entries(process.env" nocase
    $a7 = "env::vars()" nocase
    $a8 = "printenv" nocase
    $a9 = "env |" nocase
    $b0 = "urlopen" nocase
    $b1 = "requests.post" nocase
    $b2 = "http.client" nocase
    $b3 = "https.request" nocase
    $b4 = "http.request" nocase
    $b5 = "fetch(" nocase
    $b6 = "axios.post" nocase
    $b7 = "socket" nocase
    $b8 = "reqwest" nocase
    $b9 = "ureq" nocase
    $b10 = "curl" nocase
    $b11 = "wget" nocase
    $b12 = "tcpstream" nocase
    $b13 = "dns." nocase
  condition:
    filename matches /\.(py|pth|js|cjs|mjs|rs|sh)$/ and
    any of ($a*) and
    any of ($b*)
}

rule worm_publishes_itself {
  meta:
    title = "Takes tokens of package registries and publishes with them"
    score = 60
    entry = 70
    install = 95
  strings:
    $a0 = "npm publish" nocase
    $a1 = "twine upload" nocase
    $a2 = "cargo publish" nocase
    $a3 = "/-/npm/v1/tokens" nocase
    $a4 = "updatepackage" nocase
    $a5 = "publishpackage" nocase
    $b0 = "_authtoken" nocase
    $b1 = "npm_token" nocase
    $b2 = ".npmrc" nocase
    $b3 = ".pypirc" nocase
    $b4 = "cargo_registry_token" nocase
    $c0 = "trufflehog" nocase
    $c1 = "gitleaks" nocase
    $c2 = "maintainer:" nocase
    $c3 = "whoami" nocase
    $c4 = "execsync" nocase
    $c5 = "child_process" nocase
    $c6 = "subprocess" nocase
  condition:
    filename matches /\.(js|cjs|mjs|ts|py|sh)$/ and
    any of ($a*) and
    any of ($b*) and
    any of ($c*)
}

rule scans_for_secrets {
  meta:
    title = "Fetches a scanner for secrets and sends what it finds"
    score = 50
    entry = 80
    install = 95
  strings:
    $a0 = "trufflehog" nocase
    $a1 = "gitleaks" nocase
    $b0 = "/user/repos" nocase
    $b1 = "webhook" nocase
    $b2 = "repos/create" nocase
    $b3 = "createforauthenticateduser" nocase
    $b4 = "fetch(" nocase
    $b5 = "requests.post" nocase
    $b6 = "https.request" nocase
    $c0 = "process.env" nocase
    $c1 = "os.environ" nocase
    $c2 = "github_token" nocase
  condition:
    filename matches /\.(js|cjs|mjs|py|sh)$/ and
    any of ($a*) and
    any of ($b*) and
    any of ($c*)
}

rule makes_repositories {
  meta:
    title = "Makes repositories with somebody's token, to put into them what it found"
    entry = 75
    install = 90
  strings:
    $a0 = "/user/repos" nocase
    $a1 = "createforauthenticateduser" nocase
    $a2 = "gh repo create" nocase
    $b0 = "gh auth token" nocase
    $b1 = "github_token" nocase
    $b2 = "gh_token" nocase
    $c0 = "base64" nocase
    $c1 = "process.env" nocase
    $c2 = "os.environ" nocase
    $c3 = ".npmrc" nocase
    $c4 = ".ssh" nocase
  condition:
    filename matches /\.(js|cjs|mjs|py|sh|ts)$/ and
    any of ($a*) and
    any of ($b*) and
    any of ($c*)
}

rule reads_runner_memory {
  meta:
    title = "Reads the memory of a CI runner, or its tokens"
    score = 90
  strings:
    $a0 = "runner.worker" nocase
    $a1 = "actions_id_token_request_token" nocase
    $a2 = "actions_runtime_token" nocase
    $b0 = "/proc/" nocase
    $c0 = "/mem" nocase
    $c1 = "/maps" nocase
    $c2 = "/environ" nocase
    $shape = /\/proc\/[^\n]{0,80}\/(mem|maps|environ)\b/
  condition:
    any of ($a*) and
    $b0 and
    any of ($c*) and
    $shape
}

rule install_asks_cloud_metadata {
  meta:
    title = "Installation that asks a cloud's metadata service for credentials"
    install = 95
  strings:
    $a0 = "169.254.169.254"
    $a1 = "metadata.google.internal" nocase
    $a2 = "169.254.170.2"
    $a3 = "100.100.100.200"
  condition:
    any of ($a*)
}

rule turns_assistants_on_their_user {
  meta:
    title = "Starts a coding assistant without its safeguards"
    entry = 60
    install = 95
  strings:
    $a0 = "--dangerously-skip-permissions" nocase
    $a1 = "--yolo" nocase
    $a2 = "--trust-all-tools" nocase
    $b0 = "claude" nocase
    $b1 = "gemini" nocase
    $b2 = " q chat" nocase
    $b3 = "codex" nocase
    $b4 = "amazonq" nocase
  condition:
    (filename matches /\.(js|cjs|mjs|py|sh|ts)$/ or filename endswith "package.json") and
    any of ($a*) and
    any of ($b*)
}

rule reverse_shell {
  meta:
    title = "Opens a shell for somebody elsewhere"
    score = 85
  strings:
    $a0 = "/dev/tcp/" nocase
    $a1 = "os.dup2" nocase
    $a2 = "nc -e" nocase
    $a3 = "ncat -e" nocase
    $a4 = "pty.spawn" nocase
    $a5 = "/bin/sh -i" nocase
    $a6 = "bash -i" nocase
    $shape = /(bash -i\s*>&\s*\/dev\/tcp\/|\/bin\/sh -i|nc(at)? -e\s*\/bin\/|os\.dup2\(\s*\w+\.fileno\(\)\s*,\s*0\s*\).{0,400}(\/bin\/(ba)?sh|pty\.spawn))/s
  condition:
    (filename matches /\.(py|pth|js|cjs|mjs|sh|rs|rb|pl|ps1)$/ or filename endswith "package.json") and
    any of ($a*) and
    $shape
}

rule wallet_hook {
  meta:
    title = "Code that is made unreadable and reaches for wallets"
    score = 85
  strings:
    $a0 = "window.ethereum" nocase
    $a1 = "ethereum.request" nocase
    $a2 = "solana" nocase
    $a3 = "ethereum" nocase
    $a4 = "tronweb" nocase
    $b0 = "_0x" nocase
    $c0 = "xmlhttprequest" nocase
    $c1 = "fetch" nocase
    $c2 = "sendtransaction" nocase
    $c3 = "signandsend" nocase
    $shape = /\b_0x[0-9a-f]{4,6}\b/
  condition:
    filename matches /\.(js|cjs|mjs|ts)$/ and
    any of ($a*) and
    $b0 and
    any of ($c*) and
    #shape >= 20
}

rule unreadable_javascript {
  meta:
    title = "Code that was made unreadable on purpose"
    score = 30
    entry = 45
    install = 85
  strings:
    $a0 = "_0x" nocase
    $shape = /\b_0x[0-9a-f]{4,6}\b/
  condition:
    filename matches /\.(js|cjs|mjs)$/ and
    $a0 and
    #shape >= 40
}

rule reports_to_drop_box {
  meta:
    title = "Talks to an address where anybody collects what is sent"
    score = 20
    entry = 45
    install = 90
  strings:
    $a0 = "discord.com/api/webhooks/" nocase
    $a1 = "discordapp.com/api/webhooks/" nocase
    $a2 = "api.telegram.org/bot" nocase
    $a3 = "webhook.site" nocase
    $a4 = "pipedream.net" nocase
    $a5 = "oast.fun" nocase
    $a6 = "oast.pro" nocase
    $a7 = "oast.live" nocase
    $a8 = "oast.site" nocase
    $a9 = "oast.online" nocase
    $a10 = "burpcollaborator" nocase
    $a11 = "oastify.com" nocase
    $a12 = "requestbin" nocase
    $a13 = "ngrok.io" nocase
    $a14 = "ngrok-free.app" nocase
    $a15 = "interact.sh" nocase
    $a16 = "transfer.sh" nocase
  condition:
    (filename matches /\.(py|pth|js|cjs|mjs|sh|rs|ts)$/ or filename endswith "package.json") and
    any of ($a*)
}

rule install_stays {
  meta:
    title = "Installation that has itself started again later"
    install = 85
  strings:
    $a0 = "launchagents" nocase
    $a1 = "crontab" nocase
    $a2 = "systemd/user" nocase
    $a3 = "schtasks" nocase
    $a4 = "currentversion\\run" nocase
    $a5 = ".bashrc" nocase
    $a6 = ".zshrc" nocase
    $a7 = ".profile" nocase
    $a8 = "start menu\\programs\\startup" nocase
    $b0 = "urlopen" nocase
    $b1 = "requests." nocase
    $b2 = "https.get" nocase
    $b3 = "https.request" nocase
    $b4 = "fetch(" nocase
    $b5 = "axios" nocase
    $b6 = "curl" nocase
    $b7 = "wget" nocase
    $b8 = "socket" nocase
    $b9 = "reqwest" nocase
    $b10 = "ureq" nocase
  condition:
    any of ($a*) and
    any of ($b*)
}

rule build_script_sends {
  meta:
    title = "A build script or macro that talks to the network and reads what is not its own"
    install = 85
    ecosystems = "cargo"
  strings:
    $a0 = "tcpstream::connect" nocase
    $a1 = "reqwest::" nocase
    $a2 = "ureq::" nocase
    $a3 = "hyper::" nocase
    $a4 = "curl " nocase
    $b0 = "env::vars()" nocase
    $b1 = "home_dir" nocase
    $b2 = ".ssh" nocase
    $b3 = ".cargo/credentials" nocase
    $b4 = "credentials.toml" nocase
    $b5 = "/etc/passwd" nocase
    $b6 = "hostname" nocase
  condition:
    filename matches /\.(rs)$/ and
    any of ($a*) and
    any of ($b*)
}

rule rust_searches_for_keys {
  meta:
    title = "Rust that searches texts for keys of wallets and sends them"
    score = 80
    ecosystems = "cargo"
  strings:
    $a0 = "[0-9a-fa-f]{64}" nocase
    $a1 = "{64}"
    $a2 = "{32,44}"
    $a3 = "{43,44}"
    $a4 = "{87,88}"
    $a5 = "1-9a-hj-np-za-km-z" nocase
    $b0 = "reqwest" nocase
    $b1 = "ureq" nocase
    $b2 = "hyper" nocase
    $b3 = "tcpstream" nocase
    $b4 = ".post(" nocase
    $c0 = "ethereum" nocase
    $c1 = "solana" nocase
    $c2 = "private key" nocase
    $c3 = "keypair" nocase
    $shape = /(0x)?\[0-9a-fA-F\]\{64\}|\[1-9A-HJ-NP-Za-km-z\]\{\d\d,\d\d\}/s
  condition:
    filename matches /\.(rs)$/ and
    any of ($a*) and
    any of ($b*) and
    any of ($c*) and
    $shape
}

rule hidden_characters {
  meta:
    title = "Long runs of characters that nobody sees"
    score = 85
  strings:
    $a0 = "\xef\xb8\x8f"
    $a1 = "\xef\xb8\x81"
    $a2 = "\xef\xb8\x8a"
    $a3 = "\xf3\xa0\x84\x80"
    $a4 = "\xf3\xa0\x84\xa0"
    $a5 = "\xf3\xa0\x84\x81"
    $a6 = "\xf3\xa0\x84\xbf"
    $shape = /(\xef\xb8[\x80-\x8f]|\xf3\xa0[\x84-\x87][\x80-\xbf]){24,}/
  condition:
    filename matches /\.(py|js|cjs|mjs|ts|rs|sh|rb)$/ and
    any of ($a*) and
    $shape
}

rule turned_text {
  meta:
    title = "Characters that make a reader see another order than the compiler"
    score = 25
  strings:
    $a0 = "\xe2\x80\xaa"
    $a1 = "\xe2\x80\xab"
    $a2 = "\xe2\x80\xad"
    $a3 = "\xe2\x80\xae"
    $a4 = "\xe2\x81\xa6"
    $a5 = "\xe2\x81\xa7"
    $a6 = "\xe2\x81\xa8"
  condition:
    filename matches /\.(py|js|cjs|mjs|ts|rs|sh)$/ and
    any of ($a*)
}

rule reads_browsers {
  meta:
    title = "Reads the passwords or cookies that browsers keep, and sends them"
    score = 85
  strings:
    $a0 = "cryptunprotectdata" nocase
    $a1 = "login data" nocase
    $a2 = "os_crypt" nocase
    $a3 = "encrypted_key" nocase
    $b0 = "user data" nocase
    $b1 = "local state" nocase
    $b2 = "google\\chrome" nocase
    $b3 = "google/chrome" nocase
    $b4 = "bravesoftware" nocase
    $c0 = "webhook" nocase
    $c1 = "api.telegram.org" nocase
    $c2 = "requests.post" nocase
    $c3 = "https.request" nocase
    $c4 = "axios.post" nocase
    $c5 = "fetch(" nocase
    $c6 = "reqwest" nocase
  condition:
    filename matches /\.(py|js|cjs|mjs|ts|rs)$/ and
    any of ($a*) and
    any of ($b*) and
    any of ($c*)
}

rule python_runs_what_media_hide {
  meta:
    title = "Python that takes a program out of a sound or an image and runs it"
    score = 60
    entry = 85
    install = 95
  strings:
    $a0 = "wave.open" nocase
    $a1 = "image.open" nocase
    $b0 = "readframes" nocase
    $b1 = "getdata" nocase
    $b2 = "getpixel" nocase
    $b3 = "tobytes" nocase
    $c0 = "b64decode" nocase
    $c1 = "zlib.decompress" nocase
    $c2 = "marshal.loads" nocase
    $c3 = "xor" nocase
    $d0 = "exec(" nocase
    $d1 = "subprocess.popen" nocase
    $d2 = "subprocess.run" nocase
    $d3 = "os.system" nocase
  condition:
    filename matches /\.(py|pyw|pth)$/ and
    any of ($a*) and
    any of ($b*) and
    any of ($c*) and
    any of ($d*)
}

rule runs_a_download {
  meta:
    title = "Fetches a program to a folder for everybody and runs it"
    score = 30
    entry = 85
    install = 95
  strings:
    $a0 = "curl " nocase
    $a1 = "wget " nocase
    $b0 = "/tmp/" nocase
    $b1 = "%temp%" nocase
    $b2 = "/var/tmp/" nocase
    $shape = /\b(curl|wget)\b[^\n]{0,200}(\/tmp\/|%temp%)[^\n]{0,120}(&&|;|\|)\s*(python3?|(ba|z)?sh|node|chmod|nohup|\/tmp\/)\b/i
  condition:
    (filename matches /\.(py|pth|js|cjs|mjs|ts|rs)$/ or filename endswith "package.json") and
    any of ($a*) and
    any of ($b*) and
    $shape
}
