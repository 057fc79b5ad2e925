//! Forms of base URLs.

use super::*;

/// Each known shape, and the URL of a chat completion below it.
const SHAPES: &str = "
    http://100.64.0.1:8080 http://100.64.0.1:8080/v1/chat/completions
    http://100.64.0.1:8080/ http://100.64.0.1:8080/v1/chat/completions
    http://100.64.0.1:8080/v1 http://100.64.0.1:8080/v1/chat/completions
    http://localhost:11434/v1/ http://localhost:11434/v1/chat/completions
    http://[fd7a:115c:a1e0::1]:80 http://[fd7a:115c:a1e0::1]:80/v1/chat/completions
    http://localhost:1234/api/v0 http://localhost:1234/api/v0/chat/completions
    https://example.net/openai https://example.net/openai/v1/chat/completions
    https://generativelanguage.googleapis.com/v1beta/openai/ https://generativelanguage.googleapis.com/v1beta/openai/chat/completions
    https://api.deepinfra.com/v1/openai https://api.deepinfra.com/v1/openai/chat/completions
    https://aiplatform.googleapis.com/v1/projects/p/locations/global/endpoints/openapi https://aiplatform.googleapis.com/v1/projects/p/locations/global/endpoints/openapi/chat/completions
    https://models.github.ai/inference https://models.github.ai/inference/chat/completions
    https://api.fireworks.ai/inference https://api.fireworks.ai/inference/v1/chat/completions
    https://api.fireworks.ai/inference/v1 https://api.fireworks.ai/inference/v1/chat/completions
    https://dbc-1.cloud.databricks.com/serving-endpoints https://dbc-1.cloud.databricks.com/serving-endpoints/chat/completions
    https://r.openai.azure.com/openai/v1/ https://r.openai.azure.com/openai/v1/chat/completions
    https://r.openai.azure.com/openai/deployments/gpt https://r.openai.azure.com/openai/deployments/gpt/chat/completions
    https://r.services.ai.azure.com/models https://r.services.ai.azure.com/models/chat/completions
    https://gateway.ai.cloudflare.com/v1/account/gateway/compat https://gateway.ai.cloudflare.com/v1/account/gateway/compat/chat/completions
    https://api.cloudflare.com/client/v4/accounts/a/ai/v1 https://api.cloudflare.com/client/v4/accounts/a/ai/v1/chat/completions
    https://api.z.ai/api/paas/v4 https://api.z.ai/api/paas/v4/chat/completions
    https://api.groq.com/openai/v1 https://api.groq.com/openai/v1/chat/completions
    https://api.groq.com/openai https://api.groq.com/openai/v1/chat/completions
    https://api.perplexity.ai https://api.perplexity.ai/chat/completions
    https://api.mistral.ai/v1 https://api.mistral.ai/v1/chat/completions
    https://api.together.xyz https://api.together.xyz/v1/chat/completions
    https://api.cohere.ai/compatibility/v1 https://api.cohere.ai/compatibility/v1/chat/completions
    https://openrouter.ai/api/v1 https://openrouter.ai/api/v1/chat/completions
    https://openrouter.ai/api https://openrouter.ai/api/v1/chat/completions
    https://api.deepseek.com https://api.deepseek.com/v1/chat/completions
    https://api.deepseek.com/beta https://api.deepseek.com/beta/chat/completions
    https://ark.cn-beijing.volces.com/api/v3 https://ark.cn-beijing.volces.com/api/v3/chat/completions
    https://api.runpod.ai/v2/pod/openai https://api.runpod.ai/v2/pod/openai/v1/chat/completions
    https://chatgpt.com/backend-api/codex/ https://chatgpt.com/backend-api/codex/chat/completions
    https://europe-west4-aiplatform.googleapis.com/v1/projects/p/locations/l/endpoints/123 https://europe-west4-aiplatform.googleapis.com/v1/projects/p/locations/l/endpoints/123/chat/completions
    https://123.europe-west4-9.prediction.vertexai.goog/v1beta1/projects/p/locations/l/endpoints/123/ https://123.europe-west4-9.prediction.vertexai.goog/v1beta1/projects/p/locations/l/endpoints/123/chat/completions
    https://api.githubcopilot.com https://api.githubcopilot.com/chat/completions
    https://api.business.githubcopilot.com https://api.business.githubcopilot.com/chat/completions
    https://api.individual.githubcopilot.com/ https://api.individual.githubcopilot.com/chat/completions
    https://api.enterprise.githubcopilot.com https://api.enterprise.githubcopilot.com/chat/completions
    https://copilot-api.acme.ghe.com https://copilot-api.acme.ghe.com/chat/completions
    https://api.edenai.run/v2/llm https://api.edenai.run/v2/llm/chat/completions
    https://api.edenai.run/v3/llm https://api.edenai.run/v3/llm/chat/completions
    https://api.edenai.run/v3 https://api.edenai.run/v3/chat/completions
    http://gpustack.lan/v1-openai http://gpustack.lan/v1-openai/chat/completions
    https://api.novita.ai/v3/openai https://api.novita.ai/v3/openai/chat/completions
    https://api.infomaniak.com/1/ai/7/openai https://api.infomaniak.com/1/ai/7/openai/chat/completions
    https://api.infomaniak.com/2/ai/7/openai/v1 https://api.infomaniak.com/2/ai/7/openai/v1/chat/completions
    https://api.upstage.ai/v1/solar https://api.upstage.ai/v1/solar/chat/completions
    http://h//v1 http://h/v1/chat/completions
    http://h//proxy///ai// http://h/proxy/ai/v1/chat/completions
";

#[test]
fn a_path_has_one_version() {
    let mut count = 0;
    for row in SHAPES.lines().map(str::trim).filter(|row| !row.is_empty()) {
        let (base, expected) = row.split_once(' ').unwrap();
        let parsed = BaseUrl::parse(&format!(" {base}\n")).unwrap();
        let url = parsed.url("/v1/chat/completions", "m", None).unwrap();
        assert_eq!(url.to_string(), expected, "{base}");
        count += 1;
    }
    assert!(count > 30, "{count}");
}

#[test]
fn each_kind_of_version_is_one() {
    let base = BaseUrl::parse("https://generativelanguage.googleapis.com/v1beta/").unwrap();
    for version in ["v1", "v1beta", "v1alpha"] {
        let path = format!("/{version}/models/m:countTokens");
        let url = base.url(&path, "m", Some("a=b")).unwrap();
        let expected = "https://generativelanguage.googleapis.com/v1beta/models/m:countTokens?a=b";
        assert_eq!(url.to_string(), expected);
    }
    let base = BaseUrl::parse("http://p/v1").unwrap();
    let url = base.url("/model/m/invoke", "m", None).unwrap();
    assert_eq!(url.to_string(), "http://p/v1/model/m/invoke");
    let base = BaseUrl::parse("https://api.z.ai/api/anthropic").unwrap();
    let url = base.url("/v1/messages", "m", None).unwrap();
    assert_eq!(
        url.to_string(),
        "https://api.z.ai/api/anthropic/v1/messages"
    );
}

#[test]
fn a_stated_version_is_used_whatever_the_base_looks_like() {
    for (base, version, expected) in [
        ("http://p/llm", "", "http://p/llm/responses"),
        ("http://p/llm", "v3", "http://p/llm/v3/responses"),
        (
            "http://p/v1/openai",
            "v1",
            "http://p/v1/openai/v1/responses",
        ),
        ("http://p", "2024-10", "http://p/2024-10/responses"),
        // The path is meant literally.
        ("http://p/api/chat", "", "http://p/api/chat/responses"),
        (
            "http://p/openai/responses",
            "v1",
            "http://p/openai/responses/v1/responses",
        ),
        (
            "http://p/v1/containers/",
            "v1",
            "http://p/v1/containers/v1/responses",
        ),
    ] {
        let base = BaseUrl::with_version(base, version).unwrap();
        let url = base.url("/v1/responses", "m", None).unwrap();
        assert_eq!(url.to_string(), expected);
    }
}

#[test]
fn what_is_missing_or_too_much_is_named() {
    for (text, expected) in [
        (
            "localhost:11434",
            "\"localhost:11434\" has no scheme; write \"http://localhost:11434\"",
        ),
        ("100.64.0.3:8080/v1", "write \"http://100.64.0.3:8080/v1\""),
        ("//gpu/v1", "write \"http://gpu/v1\""),
        ("gpu", "write \"http://gpu\""),
        ("gpu.tail1.ts.net", "write \"http://gpu.tail1.ts.net\""),
        ("api.openai.com/v1", "write \"https://api.openai.com/v1\""),
        ("[::1]:8080", "write \"http://[::1]:8080\""),
        (
            "ftp://x/",
            "\"ftp://x/\" has the scheme \"ftp\"; use http or https",
        ),
        (
            "http://me:secret@x/",
            "\"http://…@x/\" contains a user name",
        ),
        ("http://x/?key=secret", "\"http://x/…\" has a query"),
        ("http://x/v1#secret", "has a query or a fragment"),
        ("http://", "is not a valid URL"),
        ("http://a b", "is not a valid URL"),
        ("", "\"\" is not a URL"),
        ("/v1", "\"/v1\" has no scheme"),
        ("http://x/v1/chat/completions", "write \"http://x/v1\""),
        (
            "http://x/serving-endpoints/chat/completions/",
            "write \"http://x/serving-endpoints\"",
        ),
        ("http://x/v1/responses", "write \"http://x/v1\""),
        ("http://x/v1/messages", "write \"http://x/v1\""),
        ("http://x/v1/models", "write \"http://x/v1\""),
        (
            "http://x/v1beta/models/m:generateContent",
            "write \"http://x/v1beta\"",
        ),
        ("http://x/model/m/converse", "write \"http://x\""),
        ("http://x:11434/api/chat", "write \"http://x:11434\""),
        ("http://x/a/../v1", "has a segment \".\" or \"..\""),
    ] {
        let error = BaseUrl::parse(text).unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
        assert!(!error.contains("secret"), "{error}");
    }
    for fine in ["http://x/embeddings", "http://x/api", "http://x/models"] {
        assert!(BaseUrl::parse(fine).is_ok(), "{fine}");
    }
}

/// The URL of an endpoint, its base, and a dash where paths have no version below it.
const ENDPOINT_URLS: &str = "
    https://w.azuredatabricks.net/serving-endpoints/llama/invocations https://w.azuredatabricks.net/serving-endpoints
    http://x:8000/invocations http://x:8000
    http://x/v1/openai/embeddings http://x/v1/openai
    http://x/inference/embeddings http://x/inference
    http://x/openai/embeddings http://x/openai -
    http://x/llm/chat/completions http://x/llm -
    http://x/chat/completions?a=CANARY http://x -
    http://x//v1//chat/completions http://x/v1
    http://x/v1/realtime http://x/v1
    http://x/v1/images/variations http://x/v1
    http://x/v1/responses/compact http://x/v1
    http://x/v1/messages/count_tokens http://x/v1
    http://x/v1/batches http://x/v1
    http://x/v1-openai/models http://x/v1-openai
    http://x/api/embeddings http://x
    https://api.perplexity.ai/chat/completions https://api.perplexity.ai
    https://api.edenai.run/v3/llm/models https://api.edenai.run/v3/llm
    https://r.openai.azure.com/openai/deployments/gpt/chat/completions?api-version=1 https://r.openai.azure.com/openai/v1
    https://r.services.ai.azure.com/models/chat/completions?api-version=1 https://r.services.ai.azure.com/openai/v1
    https://r.services.ai.azure.com/anthropic/v1/messages https://r.services.ai.azure.com/anthropic/v1
    https://aiplatform.googleapis.com/v1/projects/p/locations/l/endpoints/7/chat/completions https://aiplatform.googleapis.com/v1/projects/p/locations/l/endpoints/7
    https://aiplatform.googleapis.com/v1/projects/p/locations/l/publishers/google/models/m:streamGenerateContent https://aiplatform.googleapis.com
    https://bedrock-runtime.eu-west-1.amazonaws.com/model/m/invoke-with-response-stream https://bedrock-runtime.eu-west-1.amazonaws.com
";

#[test]
fn the_url_of_an_endpoint_leads_to_its_base() {
    let rows = ENDPOINT_URLS.lines().map(str::trim);
    for row in rows.filter(|row| !row.is_empty()) {
        let words: Vec<&str> = row.split(' ').collect();
        let error = BaseUrl::parse(words[0]).unwrap_err().to_string();
        let version = if words.len() == 3 {
            ", and \"path_version\": \"\""
        } else {
            ""
        };
        let expected = format!(
            "is the URL of an endpoint; write \"{}\", without the endpoint's path{version}; \
            if the path is no endpoint's, set \"path_version\"",
            words[1]
        );
        assert!(error.ends_with(&expected), "{row}: {error}");
        assert!(!error.contains("CANARY"), "{error}");
    }
    for fine in [
        "https://r.services.ai.azure.com/models",
        "http://x/files",
        "http://x/team/responses",
        "http://x/realtime",
    ] {
        assert!(BaseUrl::parse(fine).is_ok(), "{fine}");
    }
}

#[test]
fn a_vendors_root_is_told_from_its_api() {
    for (root, path) in [
        ("https://r.services.ai.azure.com", "/openai/v1"),
        ("https://r.cognitiveservices.azure.com/", "/openai/v1"),
        ("https://api.deepinfra.com", "/v1/openai"),
        ("https://dashscope.aliyuncs.com", "/compatible-mode/v1"),
        ("https://dashscope-intl.aliyuncs.com", "/compatible-mode/v1"),
        ("https://open.bigmodel.cn", "/api/paas/v4"),
        ("https://api.venice.ai", "/api/v1"),
        ("https://ark.cn-beijing.volces.com", "/api/v3"),
        ("https://ark.ap-southeast.bytepluses.com", "/api/v3"),
        ("https://adb-1.2.azuredatabricks.net", "/serving-endpoints"),
        ("https://1.2.gcp.databricks.com", "/serving-endpoints"),
        ("https://qianfan.baidubce.com", "/v2"),
        ("https://api.ai21.com", "/studio/v1"),
        ("https://api.llama.com", "/compat/v1"),
        ("https://api.longcat.chat", "/openai/v1"),
        ("https://api.edenai.run", "/v3/llm"),
        ("https://o-a.snowflakecomputing.com", "/api/v2/cortex/v1"),
    ] {
        let found = BaseUrl::parse(root).unwrap().for_openai();
        let better = format!("{}{path}", root.trim_end_matches('/'));
        assert_eq!(found.map(|base| base.to_string()), Some(better.clone()));
        assert_eq!(
            BaseUrl::parse(&better).unwrap().for_openai(),
            None,
            "{better}"
        );
    }
    for (base, expected) in [
        (
            "https://dashscope.aliyuncs.com/api/v1",
            Some("https://dashscope.aliyuncs.com/compatible-mode/v1"),
        ),
        ("https://api.z.ai/api", Some("https://api.z.ai/api/paas/v4")),
        (
            "https://api.deepinfra.com/v1",
            Some("https://api.deepinfra.com/v1/openai"),
        ),
        (
            "https://gateway.ai.cloudflare.com/v1/account/gateway",
            Some("https://gateway.ai.cloudflare.com/v1/account/gateway/compat"),
        ),
        ("https://openrouter.ai/api", None),
        ("https://api.z.ai/api/coding/paas/v4", None),
        ("https://ark.cn-beijing.volces.com/api/plan/v3", None),
        (
            "https://api.groq.com",
            Some("https://api.groq.com/openai/v1"),
        ),
        (
            "https://api.groq.com/v1",
            Some("https://api.groq.com/openai/v1"),
        ),
        (
            "https://r.openai.azure.com",
            Some("https://r.openai.azure.com/openai/v1"),
        ),
        ("https://api.groq.com/openai/v1", None),
        ("https://api.openai.com", None),
    ] {
        let found = BaseUrl::parse(base).unwrap().for_openai();
        assert_eq!(found.map(|base| base.to_string()).as_deref(), expected);
    }
}

#[test]
fn hosts_ports_and_regions() {
    let base = |text| BaseUrl::parse(text).unwrap();
    assert_eq!(
        base("https://GPU.Example.com./v1").host(),
        "gpu.example.com"
    );
    assert_eq!(base("http://[::1]:8000").host(), "::1");
    assert_eq!(base("https://x").port(), 443);
    assert_eq!(base("http://x:8").port(), 8);
    for (text, region) in [
        (
            "https://europe-west4-aiplatform.googleapis.com",
            Some("europe-west4"),
        ),
        ("https://aiplatform.eu.rep.googleapis.com/", Some("eu")),
        (
            "https://bedrock-runtime.eu-west-1.amazonaws.com",
            Some("eu-west-1"),
        ),
        ("https://aiplatform.googleapis.com", None),
    ] {
        assert_eq!(base(text).region().as_deref(), region, "{text}");
    }
}

#[test]
fn a_version_in_the_query_is_azures_and_makes_models_deployments() {
    for (base, path, expected) in [
        (
            "https://r.openai.azure.com",
            "/v1/chat/completions",
            "/openai/deployments/gpt%2F1/chat/completions",
        ),
        (
            "https://r.openai.azure.com/openai/",
            "/v1/embeddings",
            "/openai/deployments/gpt%2F1/embeddings",
        ),
        (
            "https://r.openai.azure.com",
            "/v1/responses",
            "/openai/responses",
        ),
        (
            "https://apim.example.com/team",
            "/v1/audio/speech",
            "/team/openai/deployments/gpt%2F1/audio/speech",
        ),
        (
            "https://r.openai.azure.com/openai/deployments/own",
            "/v1/chat/completions",
            "/openai/deployments/own/chat/completions",
        ),
        (
            "https://r.services.ai.azure.com/models",
            "/v1/chat/completions",
            "/models/chat/completions",
        ),
        (
            "https://r.openai.azure.com/openai/v1",
            "/v1/chat/completions",
            "/openai/v1/chat/completions",
        ),
        (
            "https://r.openai.azure.com",
            "/v1beta/models/g:countTokens",
            "/v1beta/models/g:countTokens",
        ),
    ] {
        let parsed = BaseUrl::parse(base).unwrap().with_api_version("2024-10-21");
        assert_eq!(parsed.for_openai(), None, "{base}");
        let url = |query| {
            let url = parsed.url(path, "gpt/1", query).unwrap();
            url.path_and_query().unwrap().to_string()
        };
        assert_eq!(
            url(None),
            format!("{expected}?api-version=2024-10-21"),
            "{base}"
        );
        let asked = url(Some("api-version=other&a=b"));
        assert_eq!(asked, format!("{expected}?api-version=2024-10-21&a=b"));
    }
}
