//! `docs/operating-log-service.md`: a static file server with a log beside it, by the commands of that page.

use std::process::{Command, Stdio};

use crate::machine::{Desk, ran};

/// The commands of a page's `console,outside` blocks, in order.
pub fn commands(page: &str) -> Vec<String> {
    let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs");
    let page = std::fs::read_to_string(format!("{docs}/{page}")).unwrap();
    let mut commands = Vec::new();
    for block in page.split("```console,outside\n").skip(1) {
        let block = block.split("```").next().unwrap();
        commands.extend(
            block
                .lines()
                .filter_map(|line| line.strip_prefix("$ "))
                .map(str::to_owned),
        );
    }
    commands
}

struct Files(std::process::Child);

impl Drop for Files {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn the_page_about_a_log_beside_a_static_file_server_does_what_it_says() {
    let desk = Desk::new();
    desk.run(&["init"]).expect(0, &[]);
    desk.write("hello-1.0.tar.gz", "hello");
    std::fs::create_dir(desk.path("www")).unwrap();
    let port = countersign_testkit::machine::free_port().unwrap();
    let files = Command::new("python3")
        .args([
            "-m",
            "http.server",
            &port.to_string(),
            "--bind",
            "127.0.0.1",
        ])
        .current_dir(desk.path("www"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let _files = Files(files);
    let server = desk.serve(&[]);
    for _ in 0..400 {
        if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(25));
    }
    let countersignd = env!("CARGO_BIN_EXE_countersignd");
    let countersign = std::path::Path::new(countersignd).with_file_name("countersign");
    assert!(
        countersign.exists(),
        "the client is built beside the server: cargo build --workspace --bins"
    );
    let data = desk.data();
    let prelude = format!(
        "set -e\ncountersignd() {{ {countersignd:?} --data {data:?} \"$@\"; }}\ncountersign() {{ {countersign:?} \"$@\"; }}\n\
         REGISTRY={}\nFILES=http://127.0.0.1:{port}\n",
        server.site()
    );
    let script = |more: &str| {
        let mut shell = Command::new("sh");
        shell
            .current_dir(desk.path("."))
            // What the client saw of another log of this name is none of this test's business.
            .env("XDG_STATE_HOME", desk.path("state"))
            .args(["-c", &format!("{prelude}{more}")])
            .stdin(Stdio::null());
        ran(shell)
    };
    let commands = commands("operating-log-service.md");
    assert!(commands.len() >= 10, "{commands:?}");
    script(&commands.join("\n")).expect(
        0,
        &[
            "in the log localhost:8417/service/log/files at index 0 of 1",
            "The log localhost:8417/service/log/files holds: 1 entries",
            "1 identifiers, one digest for each",
        ],
    );

    // Another file, another name, a proof of something else: each is refused.
    let verify = "countersign log verify --proof got.tlog-proof --log-policy files.policy";
    script(&format!(
        "echo other > got.tar.gz; {verify} got.tar.gz --identifier hello-1.0.tar.gz"
    ))
    .expect(3, &["not proved to be in the log"]);
    script(&format!(
        "{verify} www/hello-1.0.tar.gz --identifier hello-1.1.tar.gz"
    ))
    .expect(3, &["not proved to be in the log"]);
    // A copy of the log with another entry in it, and one that is shorter than what was seen.
    let copy = "rm -rf copy; mkdir -p copy/tile/entries/000.p copy/tile/0/000.p; cd copy; \
                for file in checkpoint tile/entries/000.p/1 tile/0/000.p/1; do \
                curl -sf \"$REGISTRY/service/log/files/$file\" > $file; done; cd ..";
    let audit = "countersign log audit --log-policy files.policy --mirror copy";
    script(&format!("{copy}; {audit}")).expect(0, &["it continues what you saw at 1 entries"]);
    script(&format!(
        "{copy}; tr 2 3 < copy/tile/entries/000.p/1 > x; cp x copy/tile/entries/000.p/1; {audit}"
    ))
    .expect(3, &["is not what the log's entries make"]);
    // What was seen last is checked too, and is told apart from what is served.
    script(&format!(
        "{copy}; cp -r state kept; for note in state/countersign/checkpoints/*.note; do echo x > $note; done; {audit}"
    ))
    .expect(
        3,
        &["that was seen here last does not hold", "move it away"],
    );
    script("rm -r state; mv kept state").expect(0, &[]);
    // The same name can not be given other bytes.
    desk.write("www/hello-1.0.tar.gz", "changed");
    let send = &commands[3..5].join("\n");
    script(&send.replace("-sf", "-s -w '%{http_code}'")).expect(0, &[]);
    let answer = std::fs::read_to_string(desk.path("answer.json")).unwrap();
    assert!(
        answer.contains("log-identifier-taken") && answer.ends_with("409"),
        "{answer}"
    );
    desk.run(&["log", "service", "list"])
        .expect(0, &["files", "open"]);
    desk.run(&["log", "service", "create", "files"])
        .expect(4, &["There is a log of a service"]);
}
