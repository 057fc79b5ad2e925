//! The companions of OpenAI's chat: embeddings, images, audio, moderation, and ranking as
//! others have added it. Their requests name a model, in JSON or in a form; their responses are
//! passed on as they are, and metered where they report usage.

mod translate;
mod usage;

use std::borrow::Cow;

use bytes::Bytes;
use http::header;

use super::body::{self, bad_request, is_model};
use super::known::Choice;
use super::tokens::PICTURE;
use super::{
    Call, DefaultModel, Density, Flag, Format, Head, Meter, MeteredRequest, Path, Splice, known,
    openai, openai_chat, openai_responses,
};
use crate::wire::{Rejection, multipart};

pub(in crate::formats) use usage::Whole;

const FORM: &str = "multipart/form-data";

/// The event that tells the usage of an image holds the image too, in base64.
const WITH_IMAGE: usize = 16 << 20;

/// A provider that speaks one of OpenAI's formats is asked for their companions too.
const FLAGS: &[&Flag] = &[&openai_chat::FLAG, &openai_responses::FLAG];

/// What they have in common.
const fn companion(
    name: &'static str,
    read: fn(&Head<'_>, Bytes) -> Result<Call, Rejection>,
    meter: fn(&MeteredRequest<'_>) -> Box<dyn Meter>,
) -> Format {
    Format {
        flags: FLAGS,
        accepts: &["application/json", FORM],
        with_model,
        density: |_| Density::VECTORS,
        refusals: openai::error::REFUSALS,
        conversation: openai::transcript::COMPANIONS,
        texts: &["input", "prompt", "query"],
        ..Format::new(name, &known::COMPANIONS, read, meter)
    }
}

/// `POST /v1/embeddings`.
pub(super) static EMBEDDINGS: Format = Format {
    paths: &["/v1/embeddings"],
    operation: "embeddings",
    vector_provider: Some(&translate::PROVIDER),
    ..companion(
        "openai_embeddings",
        |head, body| read(&EMBEDDINGS, head, body),
        |request| meter(&EMBEDDINGS, request),
    )
};
const DRAWS: [&str; 3] = [
    "/v1/images/generations",
    "/v1/images/edits",
    "/v1/images/variations",
];
/// `POST /v1/images/…`.
pub(super) static IMAGES: Format = Format {
    paths: &DRAWS,
    default_models: &[DefaultModel {
        key: "images",
        text: "Of `/v1/images/…`.",
        paths: &DRAWS,
    }],
    longest_event: WITH_IMAGE,
    density: |_| Density::PICTURES,
    ..companion(
        "openai_images",
        |head, body| read(&IMAGES, head, body),
        |request| meter(&IMAGES, request),
    )
};
const SPEAKS: &str = "/v1/audio/speech";
/// What listens instead of speaking.
const HEARS: [&str; 2] = ["/v1/audio/transcriptions", "/v1/audio/translations"];
/// `POST /v1/audio/…`.
pub(super) static AUDIO: Format = Format {
    paths: &[SPEAKS, HEARS[0], HEARS[1]],
    default_models: &[
        DefaultModel {
            key: "speech",
            text: "Of `/v1/audio/speech`.",
            paths: &[SPEAKS],
        },
        DefaultModel {
            key: "transcriptions",
            text: "Of `/v1/audio/transcriptions` and `/v1/audio/translations`.",
            paths: &HEARS,
        },
    ],
    density: |path| match path {
        Path::Fixed(path) if HEARS.contains(&path.as_ref()) => Density::TRANSCRIPT,
        _ => Density::SPEECH,
    },
    ..companion(
        "openai_audio",
        |head, body| read(&AUDIO, head, body),
        |request| meter(&AUDIO, request),
    )
};
/// `POST /v1/moderations`, which costs nothing.
pub(super) static MODERATIONS: Format = Format {
    paths: &["/v1/moderations"],
    default_models: &[DefaultModel {
        key: "moderations",
        text: "Of `/v1/moderations`.",
        paths: &["/v1/moderations"],
    }],
    ..companion(
        "openai_moderations",
        |head, body| {
            let call = read(&MODERATIONS, head, body)?;
            Ok(Call {
                billed: false,
                ..call
            })
        },
        |request| meter(&MODERATIONS, request),
    )
};
/// `POST /v1/rerank`, as llama.cpp, vLLM, Jina and Cohere have it.
pub(super) static RERANK: Format = Format {
    paths: &["/v1/rerank", "/v2/rerank"],
    ..companion(
        "rerank",
        |head, body| read(&RERANK, head, body),
        |request| meter(&RERANK, request),
    )
};

/// Tokens that a response is expected to have: so much is held of budgets while it is made.
fn expected(density: Density, copies: Option<u64>, bytes: u64) -> u64 {
    match density {
        Density::PICTURES => copies.unwrap_or(1).max(1).saturating_mul(PICTURE),
        // Speech has some 21 tokens a second, in which about 14 letters are said.
        Density::TRANSCRIPT => bytes / Density::TRANSCRIPT.asked / 4,
        Density::SPEECH => bytes.saturating_mul(3) / 2,
        // Vectors and scores aren't tokens.
        _ => 0,
    }
}

fn read(companion: &Format, head: &Head<'_>, body: Bytes) -> Result<Call, Rejection> {
    let path = companion.target(head.path).unwrap_or_default();
    let kind = content_type(head);
    let (mut call, copies) = if is_form(kind) {
        form(path, &body, kind)?
    } else {
        let (call, fields) = Call::of_json(path, body, &["model", "stream", "n"])?;
        let copies = body::count(call.value(&fields, 2));
        (call, copies)
    };
    // An image has a background, and speech a speed.
    let is_harmless = |choice: &Choice| matches!(&*choice.key, "background" | "speed");
    call.choices.retain(|choice| !is_harmless(choice));
    let density = (companion.density)(&call.path);
    call.answer_limit = Some(expected(density, copies, call.body.len() as u64));
    Ok(call)
}

fn with_model(head: &Head<'_>, body: &Bytes, model: &str) -> Option<Bytes> {
    let kind = content_type(head);
    if is_form(kind) {
        return multipart::with_field(body, kind, "model", model).map(Bytes::from);
    }
    body::with_model(body, model)
}

fn meter(companion: &Format, request: &MeteredRequest<'_>) -> Box<dyn Meter> {
    Box::new(Whole::new((companion.density)(request.path)))
}

fn content_type<'h>(head: &Head<'h>) -> &'h str {
    let kind = head.headers.get(header::CONTENT_TYPE);
    kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default()
}

fn is_form(kind: &str) -> bool {
    let start = kind.get(..FORM.len());
    start.is_some_and(|start| start.eq_ignore_ascii_case(FORM))
}

/// A form for a path, and how many results it wants.
fn form(path: &'static str, body: &Bytes, kind: &str) -> Result<(Call, Option<u64>), Rejection> {
    let odd = |error| bad_request(format!("the form is not acceptable: {error}"));
    let fields = multipart::scan(body, kind, &["model", "stream", "n"]).map_err(odd)?;
    let text = |nth: usize| std::str::from_utf8(&body[fields[nth].clone()?]).ok();
    let model = text(0)
        .filter(|model| is_model(model))
        .ok_or_else(|| body::no_model("the form has no `model`"))?;
    let stream = text(1).is_some_and(|stream| stream.eq_ignore_ascii_case("true"));
    let copies = text(2).and_then(|copies| copies.trim().parse().ok());
    let parts = multipart::parts(body, kind).map_err(odd)?;
    let call = Call {
        stream,
        choices: known::form_choices(parts.iter().map(|part| part.name)),
        path: Path::Fixed(Cow::Borrowed(path)),
        splice: Splice {
            model: fields[0].clone(),
            ..Splice::default()
        },
        ..Call::new(model.to_owned(), body.clone())
    };
    Ok((call, copies))
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, Method};

    use super::*;

    fn ask(companion: &Format, path: &str, kind: &str, body: &str) -> Result<Call, Rejection> {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, kind.parse().unwrap());
        let head = Head {
            path,
            query: None,
            headers: &headers,
        };
        companion.read(&head, Bytes::copy_from_slice(body.as_bytes()))
    }

    #[test]
    fn json_and_forms_name_the_model_which_alone_changes() {
        let call = ask(
            &EMBEDDINGS,
            "/embeddings",
            "application/json",
            r#"{"model":"a","input":"x"}"#,
        )
        .unwrap();
        let out = call.outbound("b");
        assert_eq!(out.path, "/v1/embeddings");
        assert_eq!(out.body, r#"{"model":"b","input":"x"}"#);
        let form = "--X\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper\r\n--X\r\n\
            Content-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\nContent-Type: audio/wav\r\n\r\n\
            RIFF--X\r\n--X\r\nContent-Disposition: form-data; name=\"stream\"\r\n\r\ntrue\r\n--X--\r\n";
        let call = ask(
            &AUDIO,
            "/v1/audio/transcriptions",
            "multipart/form-data; boundary=X",
            form,
        )
        .unwrap();
        assert_eq!((call.model.as_str(), call.stream), ("whisper", true));
        assert_eq!(call.outbound("tiny").body, form.replace("whisper", "tiny"));
    }

    #[test]
    fn each_path_has_one_companion() {
        let all = [&EMBEDDINGS, &IMAGES, &AUDIO, &MODERATIONS, &RERANK];
        for path in [
            "/v1/images/edits",
            "/audio/speech",
            "/rerank",
            "/v2/rerank",
            "/moderations",
        ] {
            let known = all.iter().filter(|one| one.recognises(&Method::POST, path));
            assert_eq!(known.count(), 1, "{path}");
        }
        assert!(
            !all.iter()
                .any(|one| one.recognises(&Method::POST, "/v1/images"))
        );
        assert!(
            ask(
                &RERANK,
                "/rerank",
                "multipart/form-data; boundary=X",
                "--X--\r\n"
            )
            .is_err()
        );
    }
}
