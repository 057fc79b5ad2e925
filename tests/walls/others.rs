//! Another user of the machine that the gateway runs on.

use std::path::Path;

use serde_json::json;

use crate::daemon::ADA;
use crate::echo::Heard;
use crate::secrets::{Answers, configuration, requests};
use crate::world::{Gateway, files};

pub const TESTS: &[support::harness::Test<()>] =
    support::tests![another_user_of_the_machine_reads_nothing,];

/// Whether this is the machine's root, and not that of a namespace without other users.
pub fn has_other_users() -> bool {
    let known = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    known.contains("4294967295")
}

/// Another user of the machine can read nothing of it, whoever created the folder.
async fn another_user_of_the_machine_reads_nothing() {
    if !has_other_users() {
        support::harness::skip("it takes root, for there to be another user");
        return;
    }
    let heard = Heard::default();
    let config = configuration(&heard, &json!({}), Path::new("/dev/null")).await;
    let mut gateway = Gateway::start(config, &[("IRIS_TEST_CANARY", "x")]).await;
    requests(&mut Answers::default()).await;
    let body = json!({ "title": "t", "body": {} }).to_string();
    ADA.ask("PUT", "/api/chats/one", &body, &[]).await;
    let as_other = |program: &str, path: &Path| {
        let mut command = std::process::Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", program]);
        command.arg(path).output().unwrap().status.success()
    };
    let open = |path: &Path| {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(path, mode).unwrap();
    };
    open(gateway.dir.path());
    assert!(as_other("ls", gateway.dir.path()) && as_other("cat", &gateway.dir.path().join("log")));
    assert!(
        !as_other("ls", &gateway.state()),
        "the state directory can be listed"
    );
    // A folder that another user has created, readable by all.
    open(&gateway.state());
    let made = files(&gateway.state());
    assert!(made.len() >= 3, "{made:?}");
    for file in &made {
        assert!(!as_other("cat", file), "{} can be read", file.display());
    }
    let memory = format!("/proc/{}/environ", gateway.id());
    assert!(!as_other("cat", Path::new(&memory)));
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", gateway.id())).unwrap();
    let core = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"))
        .unwrap();
    assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
    gateway.abort().await;
    let cores: Vec<_> = files(gateway.dir.path())
        .into_iter()
        .filter(|file| {
            file.file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with("core"))
        })
        .collect();
    assert!(cores.is_empty(), "{cores:?}");
    println!("  {} files", made.len());
}
