//! What every program is given, whatever models are called.

use super::*;

const TARGET: Target<'static> = Target {
    base: "http://ai.example.ts.net",
    model: "the-model",
    background: "the-model",
    models: &[],
    own_login: false,
    labels: "project=acme/web",
};

#[test]
fn every_program_is_told_the_gateway_and_the_model() {
    for agent in ALL {
        let Settings {
            env,
            args,
            folder,
            own,
            team,
        } = agent.settings(&TARGET);
        let has_team = ["claude-code", "codex"].contains(&agent.id);
        assert_eq!(
            (team.is_some(), agent.has_team_settings()),
            (has_team, has_team),
            "{}",
            agent.id
        );
        if let Some((_, text)) = team {
            assert!(text.contains(TARGET.base), "{}: {text}", agent.id);
            assert!(text.contains(TARGET.model), "{}: {text}", agent.id);
        }
        let folder = folder.map(|folder| folder.text).unwrap_or_default();
        let run = format!("{}{}{folder}", exports(&env), args.join(" "));
        if agent.once {
            assert!(run.contains(TARGET.base), "{}: {run}", agent.id);
            assert!(run.contains(TARGET.model), "{}: {run}", agent.id);
        }
        if own.is_empty() {
            continue;
        }
        let own: String = own
            .iter()
            .map(|own| own.change.apply("").unwrap())
            .collect();
        assert!(own.contains(TARGET.base), "{}: {own}", agent.id);
        assert!(own.contains(TARGET.model), "{}: {own}", agent.id);
    }
}

#[test]
fn labels_are_for_one_run_of_the_programs_that_can_send_them() {
    for (id, expected) in [
        (
            "claude-code",
            "ANTHROPIC_CUSTOM_HEADERS='x-iris-labels: project=acme/web'",
        ),
        (
            "codex",
            "'model_providers.iris.http_headers={\"x-iris-labels\"=\"project=acme/web\"}'",
        ),
        (
            "gemini-cli",
            "GEMINI_CLI_CUSTOM_HEADERS='x-iris-labels: project=acme/web'",
        ),
        (
            "opencode",
            "\"headers\":{\"x-iris-labels\":\"project=acme/web\"}",
        ),
    ] {
        let agent = find(id).unwrap();
        let shown = |target: &Target<'_>| {
            let settings = agent.settings(target);
            let run = exports(&settings.env) + &command(agent.program, &settings.args);
            let own = settings.own.iter().map(|own| own.change.new_file());
            (run, own.collect::<String>())
        };
        let (run, own) = shown(&TARGET);
        assert!(run.contains(expected), "{id}: {run}");
        assert!(!own.contains(HEADER), "{id}: {own}");
        let (run, _) = shown(&Target {
            labels: "",
            ..TARGET
        });
        assert!(!run.contains(HEADER), "{id}: {run}");
    }
}

/// Whatever a model is called, it is one value of each form, and nothing of it is a line, a
/// variable or a command of its own.
#[test]
fn a_name_stays_a_name_in_every_form() {
    for name in [
        "m\nOPENAI_BASE_URL=http://evil",
        "m\r\nX=1",
        "m\u{85}X=1",
        "m\u{2028}X=1",
        "m'; touch /tmp/x; '",
        "m\"\nx: y",
        "m # not a comment",
        "m$(id)`id`${HOME}",
        "m\\",
        "m\u{1b}]0;t\u{7}\u{9b}2J\u{202e}",
    ] {
        let plain = TARGET;
        let listed = |id: &str| {
            let id = id.to_owned();
            [Listed {
                id,
                ..Listed::default()
            }]
        };
        let (plain_list, odd_list) = (listed("the-model"), listed(name));
        let plain = Target {
            models: &plain_list,
            ..plain
        };
        let odd = Target {
            model: name,
            background: name,
            models: &odd_list,
            ..TARGET
        };
        for agent in ALL {
            let lines = |target: &Target<'_>| {
                let settings = agent.settings(target);
                let files: Vec<String> = settings
                    .own
                    .iter()
                    .map(|own| own.change.new_file())
                    .collect();
                let folder = settings.folder.map(|folder| folder.text);
                let shell = exports(&settings.env) + &command(agent.program, &settings.args);
                let all: Vec<String> = files.into_iter().chain(folder).chain([shell]).collect();
                let counts: Vec<usize> = all.iter().map(|text| text.lines().count()).collect();
                let text = all.concat();
                let seen = text.chars().all(|char| char == '\n' || !steers(char));
                assert!(seen, "{}: {text:?}", agent.id);
                counts
            };
            assert_eq!(lines(&odd), lines(&plain), "{}: {name:?}", agent.id);
        }
        let is_fit = name == "m # not a comment";
        assert_eq!(is_name(name), is_fit, "{name:?}");
        let value = dotenv(name);
        let inner = value
            .strip_prefix('\'')
            .and_then(|rest| rest.strip_suffix('\''));
        assert!(inner.is_some_and(|inner| !inner.contains('\'')), "{value}");
    }
    assert!(is_name("hf.co/unsloth/Qwen3 (big):Q4_K_M") && !is_name("-m") && !is_name(""));
    assert_eq!(dotenv("openai/gpt-5:x"), "openai/gpt-5:x");
}

/// Programs that take a list get all models, and what they do in the background goes to the model for that.
#[test]
fn lists_and_background_models_are_passed_on() {
    let listed = |id: &str| Listed {
        id: id.to_owned(),
        context: Some(32_000),
        output: None,
    };
    let models = [listed("another-model"), listed(TARGET.model)];
    let target = Target {
        background: "small-model",
        models: &models,
        ..TARGET
    };
    let text = |id: &str| {
        let settings = find(id).unwrap().settings(&target);
        let own: String = settings
            .own
            .iter()
            .map(|own| own.change.new_file())
            .collect();
        let folder = settings
            .folder
            .map(|folder| folder.text)
            .unwrap_or_default();
        exports(&settings.env) + &own + &folder
    };
    for id in ["opencode", "continue", "crush", "pi", "omp", "zed"] {
        let text = text(id);
        let other = text.find("another-model");
        let first = text.find(TARGET.model);
        assert!(other.is_some() && first < other, "{id}: {text}");
    }
    for id in ["claude-code", "opencode", "aider", "crush"] {
        assert!(text(id).contains("small-model"), "{id}: {}", text(id));
    }
}

/// Agents that stay signed in are told where to go, and get no key in place of their own.
#[test]
fn a_login_of_the_agents_own_is_left_alone() {
    for (agent, key) in [
        ("claude-code", "ANTHROPIC_AUTH_TOKEN"),
        ("codex", "env_key"),
    ] {
        let agent = find(agent).unwrap();
        let settings = agent.settings(&Target {
            own_login: true,
            ..TARGET
        });
        let own: String = settings
            .own
            .iter()
            .map(|own| own.change.new_file())
            .collect();
        let run = exports(&settings.env) + &command(agent.program, &settings.args);
        for text in [run, own] {
            assert!(text.contains(TARGET.base), "{text}");
            assert!(
                !text.contains(key) && !text.contains("apiKeyHelper"),
                "{text}"
            );
        }
    }
    let codex = find("codex").unwrap().settings(&Target {
        own_login: true,
        ..TARGET
    });
    let text = codex.own[0].change.new_file();
    assert!(text.contains("requires_openai_auth = true"), "{text}");
    let keyed = find("codex").unwrap().settings(&TARGET);
    let text = keyed.own[0].change.apply(&text).unwrap();
    assert!(text.contains("requires_openai_auth = false"), "{text}");
    // What an earlier run put there would replace the login.
    let claude = find("claude-code").unwrap();
    let before = claude.settings(&TARGET).own[0].change.new_file();
    assert!(before.contains("apiKeyHelper"), "{before}");
    let after = claude.settings(&Target {
        own_login: true,
        ..TARGET
    });
    let change = &after.own[0].change;
    assert_eq!(change.leftovers(&before), ["apiKeyHelper"]);
    let after = change.apply(&before).unwrap();
    assert!(!after.contains("apiKeyHelper"), "{after}");
    assert!(change.leftovers(&after).is_empty());
    assert!(change.leftovers(r#"{ "apiKeyHelper": "mine" }"#).is_empty());
    assert!(change.leftovers("{").is_empty());
}

#[test]
fn formats_are_those_that_the_gateway_lists() {
    for speaks in [
        Speaks::Chat,
        Speaks::Responses,
        Speaks::Messages,
        Speaks::Gemini,
    ] {
        let format = crate::formats::named(speaks.kind()).unwrap();
        assert_eq!(format.endpoint, Some(speaks.endpoint()));
    }
}

#[test]
fn names_are_told_apart() {
    for (nth, agent) in ALL.iter().enumerate() {
        let first = ALL.iter().position(|other| {
            [other.id, other.program].contains(&agent.id)
                || [other.id, other.program].contains(&agent.program)
        });
        assert_eq!(first, Some(nth), "{}", agent.id);
    }
    assert_eq!(find("claude").unwrap().id, "claude-code");
}

#[test]
fn a_name_can_not_end_its_quotes() {
    assert_eq!(sh("a/b:c"), "a/b:c");
    assert_eq!(sh("a'; rm -rf ~"), r"'a'\''; rm -rf ~'");
}
