//! `iris init` and the public services. For each, a server answers as the service does, and checks that
//! it is asked as the service's own programs ask.

use iris::config::Authorization;
use serde_json::json;

use crate::init_providers::{init, said, written};
use support::provider::{Received, server};

#[tokio::test(flavor = "multi_thread")]
async fn each_service_is_asked_as_its_own_programs_ask() {
    let (address, log) = server("127.0.0.1:0", |request: &Received| {
        let body = match request.target().as_str() {
            "GET /v1/models" if request.header("x-api-key") == Some("k-anthropic") => {
                json!({ "data": [{ "type": "model", "id": "claude-x" }] })
            }
            "GET /v1beta/models" if request.header("x-goog-api-key") == Some("k-gemini") => {
                json!({ "models": [
                { "name": "models/gemini-x", "supportedGenerationMethods": ["generateContent"] },
                { "name": "models/embed-x", "supportedGenerationMethods": ["embedContent"] },
                { "name": "models/veo", "supportedGenerationMethods": ["predictLongRunning"] },
            ] })
            }
            "GET /api/v1/key" | "GET /api/v1/models"
                if request.header("authorization") == Some("Bearer k-router") =>
            {
                json!({ "data": [{ "id": "a/x" }, { "id": "a/y:free" }, { "id": "b/z" }] })
            }
            "POST /api/v1/chat/completions" | "POST /api/v1/messages" => {
                return ("400 Bad Request", "{}".to_owned());
            }
            _ => return ("404 Not Found", "{}".to_owned()),
        };
        ("200 OK", body.to_string())
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("iris.hujson");
    let variables = [
        ("ANTHROPIC_API_KEY", "k-anthropic"),
        ("GEMINI_API_KEY", "k-gemini"),
        ("OPENROUTER_API_KEY", "k-router"),
    ];
    let specs = [
        format!("anthropic,url=http://{address}"),
        format!("gemini,url=http://{address}"),
        format!("openrouter,url=http://{address}/api/v1,a/*"),
    ];
    let arguments: Vec<&str> = specs.iter().flat_map(|spec| ["--provider", spec]).collect();
    let output = init(&file, &arguments, &variables);
    assert!(output.status.success(), "{}", said(&output));
    let loaded = written(&file, &variables);
    let of = |id: &str| &loaded.providers[id];
    assert_eq!(of("anthropic").models, ["claude-x"]);
    assert_eq!(of("anthropic").authorization, Authorization::XApiKey);
    assert_eq!(of("gemini").models, ["gemini-x", "embed-x"]);
    assert_eq!(
        of("gemini").compatibility.flags(),
        ["gemini_generate_content"]
    );
    assert_eq!(of("openrouter").models, ["a/x", "a/y:free"]);
    assert_eq!(
        of("openrouter").compatibility.flags(),
        ["openai_chat", "anthropic_messages"]
    );
    let log = log.lock().unwrap();
    let anthropic = log
        .iter()
        .find(|one| one.header("x-api-key").is_some())
        .unwrap();
    assert_eq!(anthropic.header("anthropic-version"), Some("2023-06-01"));
    assert!(log.iter().any(|one| one.target() == "GET /api/v1/key"));
}

#[tokio::test(flavor = "multi_thread")]
async fn bedrock_is_asked_with_a_signature_or_with_its_own_key() {
    let (address, _log) = server("127.0.0.1:0", |request: &Received| {
        let key = request.header("authorization").unwrap_or_default();
        let signed = key.starts_with("AWS4-HMAC-SHA256 Credential=AKIATEST/")
            && key.contains("/eu-west-1/bedrock/aws4_request");
        if !signed && key != "Bearer bedrock-key" {
            let body =
                json!({ "message": "The security token included in the request is invalid." });
            return ("403 Forbidden", body.to_string());
        }
        let body = match request.target().as_str() {
            "GET /foundation-models" => json!({ "modelSummaries": [
                { "modelId": "amazon.nova-lite-v1:0", "modelLifecycle": { "status": "ACTIVE" } },
                { "modelId": "old.model-v1:0", "modelLifecycle": { "status": "LEGACY" } },
            ] }),
            "GET /inference-profiles" => json!({ "inferenceProfileSummaries": [
                { "inferenceProfileId": "eu.anthropic.claude-x-v1:0" },
            ] }),
            _ => return ("404 Not Found", "{}".to_owned()),
        };
        ("200 OK", body.to_string())
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let keys = [
        ("AWS_ACCESS_KEY_ID", "AKIATEST"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
    ];
    let file = dir.path().join("signed.hujson");
    let spec = format!("bedrock,url=http://{address},region=eu-west-1");
    let output = init(&file, &["--provider", &spec], &keys);
    assert!(output.status.success(), "{}", said(&output));
    let loaded = written(&file, &keys);
    let provider = &loaded.providers["bedrock"];
    assert_eq!(
        provider.models,
        ["amazon.nova-lite-v1:0", "eu.anthropic.claude-x-v1:0"]
    );
    assert_eq!(provider.authorization, Authorization::AwsSigv4);
    assert_eq!(provider.region.as_deref(), Some("eu-west-1"));

    let bearer = [("AWS_BEARER_TOKEN_BEDROCK", "bedrock-key")];
    let file = dir.path().join("bearer.hujson");
    let output = init(&file, &["--provider", &spec], &bearer);
    assert!(output.status.success(), "{}", said(&output));
    let loaded = written(&file, &bearer);
    assert_eq!(
        loaded.providers["bedrock"].authorization,
        Authorization::Bearer
    );

    let wrong = [
        ("AWS_ACCESS_KEY_ID", "AKIAWRONG"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
    ];
    let refused = init(&dir.path().join("x"), &["--provider", &spec], &wrong);
    let message = said(&refused);
    assert!(
        message.contains("The security token included in the request is invalid"),
        "{message}"
    );
    let nowhere = init(&dir.path().join("x"), &["--provider", "bedrock"], &keys);
    assert!(said(&nowhere).contains("add region="), "{}", said(&nowhere));
}

#[tokio::test(flavor = "multi_thread")]
async fn vertex_takes_a_key_file_as_google_gives_it() {
    let (address, log) = server("127.0.0.1:0", |request: &Received| {
        if request.target() == "POST /token" {
            let token = json!({ "access_token": "a-token", "expires_in": 3600 });
            return ("200 OK", token.to_string());
        }
        if request.header("authorization") != Some("Bearer a-token") {
            return ("401 Unauthorized", "{}".to_owned());
        }
        let (publisher, model) = match request.target().as_str() {
            "GET /v1beta1/publishers/google/models" => ("google", "gemini-x"),
            "GET /v1beta1/publishers/anthropic/models" => ("anthropic", "claude-x"),
            _ => return ("404 Not Found", "{}".to_owned()),
        };
        let name = format!("publishers/{publisher}/models/{model}");
        (
            "200 OK",
            json!({ "publisherModels": [{ "name": name }] }).to_string(),
        )
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let key = json!({
        "type": "service_account",
        "project_id": "my-project",
        "private_key_id": "k",
        "private_key": include_str!("../../src/net/client/fixtures/throw-away-test-key.pem"),
        "client_email": "a@my-project.iam.gserviceaccount.com",
        "token_uri": format!("http://{address}/token"),
    });
    let account = dir.path().join("sa.json");
    std::fs::write(&account, format!("{key:#}\n")).unwrap();
    let file = dir.path().join("iris.hujson");
    let spec = format!("vertex,url=http://{address},key=file:{}", account.display());
    let output = init(&file, &["--provider", &spec], &[]);
    assert!(output.status.success(), "{}", said(&output));
    let loaded = written(&file, &[]);
    let provider = &loaded.providers["vertex"];
    assert_eq!(provider.models, ["gemini-x", "claude-x"]);
    assert_eq!(
        provider.service_account.as_ref().unwrap().project,
        "my-project"
    );
    assert_eq!(
        provider.compatibility.flags(),
        ["google_generate_content", "google_raw_predict"]
    );
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(!text.contains("PRIVATE"), "{text}");
    // An existing file is checked even without a test; a missing one may come later.
    let untested = |key: &str, name: &str| {
        let spec = format!("vertex,region=global,project=p,m,key=file:{key}");
        let file = dir.path().join(name);
        (init(&file, &["--no-test", "--provider", &spec], &[]), file)
    };
    let bad = dir.path().join("bad.json");
    std::fs::write(&bad, "{}").unwrap();
    let (output, file) = untested(bad.to_str().unwrap(), "bad.hujson");
    let message = said(&output);
    assert!(
        message.contains("the service-account key of provider vertex cannot be used"),
        "{message}"
    );
    assert!(!file.exists());
    let (output, file) = untested("/nonexistent/sa.json", "later.hujson");
    assert!(output.status.success(), "{}", said(&output));
    assert!(file.exists());
    let tokens = log.lock().unwrap();
    assert_eq!(
        tokens
            .iter()
            .filter(|one| one.target() == "POST /token")
            .count(),
        1
    );
}
