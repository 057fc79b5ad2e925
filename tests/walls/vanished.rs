//! A provider on a machine of its own that vanishes without closing its connections. The machine is
//! another network namespace, in which this program runs a second time.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::world::Gateway;
use support::http::{CHAT, Reply, post, send_to};
use support::namespace::ip;
use support::provider::{COMPLETION, server};

pub const TESTS: &[support::harness::Test<()>] =
    support::tests![a_machine_that_vanishes_is_told_from_one_that_is_slow,];

pub const FAR: &str = "--far-provider";
const ADDRESS: &str = "10.99.0.1";
const HARDWARE: &str = "02:00:00:00:00:01";
/// What a message says for an answer that takes a while, and for one that never comes.
const SLOW: (&str, Duration) = ("slowly", Duration::from_secs(7));
const NEVER: (&str, Duration) = ("never", Duration::from_mins(10));
/// More than the time after which a silent connection is dead, and less than requests may take.
const LONG: Duration = Duration::from_mins(1);

/// The far machine: serves, and does what its input says.
pub fn far() -> ExitCode {
    let mut lines = std::io::stdin().lines();
    let tell = |word: &str| {
        let mut out = std::io::stdout();
        writeln!(out, "{word}").unwrap();
        out.flush().unwrap();
    };
    tell("ready");
    lines.next();
    ip("link set lo up");
    ip(&format!("link set far address {HARDWARE}"));
    ip(&format!("addr add {ADDRESS}/24 dev far"));
    ip("link set far up");
    let listener = TcpListener::bind((ADDRESS, 80)).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || serve(stream, &tell));
        }
    });
    tell("serves");
    while let Some(Ok(line)) = lines.next() {
        if line == "vanish" {
            // From now on, packets get lost without a notice.
            ip(&format!("addr del {ADDRESS}/24 dev far"));
            tell("gone");
        }
    }
    ExitCode::SUCCESS
}

#[expect(clippy::disallowed_methods, reason = "there is no runtime here")]
fn serve(mut stream: TcpStream, tell: &impl Fn(&str)) {
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut piece) {
        bytes.extend_from_slice(&piece[..count]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let body = text.split_once("\r\n\r\n").map(|(_, body)| body);
        if body.is_none_or(|body| serde_json::from_str::<Value>(body).is_err()) {
            continue;
        }
        for (word, time) in [SLOW, NEVER] {
            if text.contains(word) {
                tell(word);
                std::thread::sleep(time);
            }
        }
        bytes.clear();
        let length = COMPLETION.len();
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length:";
        let _ = write!(stream, "{head} {length}\r\n\r\n{COMPLETION}");
    }
}

/// The far machine, as seen from here.
struct Far {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Far {
    fn start() -> Self {
        let mut child = Command::new("unshare")
            .arg("--net")
            .arg(std::env::current_exe().unwrap())
            .arg(FAR)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut far = Self {
            child,
            input,
            output,
        };
        far.hears("ready");
        let id = far.child.id();
        ip(&format!("link add near type veth peer name far netns {id}"));
        ip("addr add 10.99.0.9/24 dev near");
        ip("link set near up");
        // Nothing checks whether the machine is there.
        ip(&format!(
            "neigh replace {ADDRESS} lladdr {HARDWARE} dev near nud permanent"
        ));
        far.told("go");
        far.hears("serves");
        far
    }

    fn told(&mut self, word: &str) {
        writeln!(self.input, "{word}").unwrap();
        self.input.flush().unwrap();
    }

    fn hears(&mut self, word: &str) {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        assert_eq!(line.trim(), word);
    }
}

impl Drop for Far {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn ask(text: &str) -> (Reply, Duration) {
    let body = json!({ "model": "m", "messages": [{ "role": "user", "content": text }] });
    let began = Instant::now();
    let reply = send_to(
        "127.0.0.1:8088".parse().unwrap(),
        post(CHAT, &body.to_string()),
    )
    .await;
    (reply.unwrap(), began.elapsed())
}

async fn a_machine_that_vanishes_is_told_from_one_that_is_slow() {
    let mut far = Far::start();
    let (near, seen) = server("127.0.0.1:0", |_| ("200 OK", COMPLETION.to_owned())).await;
    let gateway = Gateway::start(
        json!({
            "timeouts": { "connect": "4s", "first_byte": "5m" },
            "routing": { "attempts": 3 },
            "providers": {
                "far": { "baseurl": format!("http://{ADDRESS}"), "models": ["m"], "preference": 10 },
                "near": { "baseurl": format!("http://{near}"), "models": ["m"] },
            },
            "grants": [{
                "src": ["(loopback)"],
                "app": { "tailscale.com/cap/aperture": [{ "role": "admin" }, { "models": "**" }] },
            }],
        }),
        &[],
    )
    .await;
    // Silent for longer than a dead one may be, and waited for.
    let (slow, quick) = tokio::join!(ask(SLOW.0), ask("hi"));
    far.hears(SLOW.0);
    assert_eq!(
        (slow.0.status.as_u16(), quick.0.status.as_u16()),
        (200, 200)
    );
    assert!(seen.lock().unwrap().is_empty(), "{}", gateway.log());
    // One request is being worked on as the machine vanishes, and one comes after that, on another
    // connection that was kept.
    let asked = tokio::spawn(ask(NEVER.0));
    far.hears(NEVER.0);
    far.told("vanish");
    far.hears("gone");
    let (after, before) = tokio::join!(ask("hi"), asked);
    for (reply, took) in [after, before.unwrap()] {
        assert_eq!(reply.status.as_u16(), 200, "{}", reply.text());
        assert!(took < LONG, "{took:?}: {}", gateway.log());
    }
    assert_eq!(seen.lock().unwrap().len(), 2);
}
