//! The companions of OpenAI's chat: embeddings, images, audio, moderation, and ranking as
//! others have added it. Their requests name a model, in JSON or in a form; their answers are
//! passed on as they are, and metered where they report usage.

mod usage;

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;
use http::{Method, Response, header};

use super::body::{self, bad_request};
use super::call::is_model;
use super::tokens::PICTURE;
use super::{
    Api, ApiKind, Call, Density, Destination, Head, Known, Meter, Outbound, Path, Splice, known,
    openai_error,
};
use crate::wire::{Body, Rejection, multipart, sse};

const FORM: &str = "multipart/form-data";

/// One of them.
#[derive(Debug)]
pub(super) struct Companion {
    kind: &'static str,
    /// Its paths at a provider.
    paths: &'static [&'static str],
    billed: bool,
    longest_event: usize,
    /// What the bytes of its requests and responses stand for.
    density: Density,
}

/// The event that tells the usage of an image holds the image too, in base64.
const WITH_IMAGE: usize = 16 << 20;

/// `POST /v1/embeddings`.
pub(super) const EMBEDDINGS: Companion = Companion {
    kind: "openai_embeddings",
    paths: &["/v1/embeddings"],
    billed: true,
    longest_event: sse::MAX_EVENT,
    density: Density::VECTORS,
};
/// `POST /v1/images/…`.
pub(super) const IMAGES: Companion = Companion {
    kind: "openai_images",
    paths: &[
        "/v1/images/generations",
        "/v1/images/edits",
        "/v1/images/variations",
    ],
    billed: true,
    longest_event: WITH_IMAGE,
    density: Density::PICTURES,
};
/// What listens instead of speaking.
const HEARS: [&str; 2] = ["/v1/audio/transcriptions", "/v1/audio/translations"];
/// `POST /v1/audio/…`.
pub(super) const AUDIO: Companion = Companion {
    kind: "openai_audio",
    paths: &[
        "/v1/audio/speech",
        "/v1/audio/transcriptions",
        "/v1/audio/translations",
    ],
    billed: true,
    longest_event: sse::MAX_EVENT,
    density: Density::SPEECH,
};
/// `POST /v1/moderations`, which costs nothing.
pub(super) const MODERATIONS: Companion = Companion {
    kind: "openai_moderations",
    paths: &["/v1/moderations"],
    billed: false,
    longest_event: sse::MAX_EVENT,
    density: Density::VECTORS,
};
/// `POST /v1/rerank`, as llama.cpp, vLLM, Jina and Cohere have it.
pub(super) const RERANK: Companion = Companion {
    kind: "rerank",
    paths: &["/v1/rerank", "/v2/rerank"],
    billed: true,
    longest_event: sse::MAX_EVENT,
    density: Density::VECTORS,
};

impl Companion {
    /// Tokens that the response is expected to have: so much is held of budgets while it is made.
    fn expected(&self, path: &str, copies: Option<u64>, bytes: u64) -> u64 {
        match self.density {
            Density::PICTURES => copies.unwrap_or(1).max(1).saturating_mul(PICTURE),
            // Speech has some 21 tokens a second, in which about 14 letters are said.
            Density::SPEECH if HEARS.contains(&path) => bytes / Density::TRANSCRIPT.asked / 4,
            Density::SPEECH => bytes.saturating_mul(3) / 2,
            // Vectors and scores are no tokens.
            _ => 0,
        }
    }

    /// The path at a provider; a caller may leave out the first version.
    fn target(&self, path: &str) -> Option<&'static str> {
        self.paths
            .iter()
            .copied()
            .find(|known| path == *known || known.strip_prefix("/v1") == Some(path))
    }
}

impl Api for Companion {
    fn kind(&self) -> ApiKind {
        ApiKind(self.kind)
    }

    /// A provider that speaks one of OpenAI's formats is asked for their companions too.
    fn flags(&self) -> &'static [&'static str] {
        &["openai_chat", "openai_responses"]
    }

    fn endpoint(&self) -> Option<&'static str> {
        None
    }

    fn known(&self) -> &'static Known {
        &known::COMPANIONS
    }

    fn recognises(&self, method: &Method, path: &str) -> bool {
        method == Method::POST && self.target(path).is_some()
    }

    fn accepts(&self) -> &'static [&'static str] {
        &["application/json", FORM]
    }

    fn longest_event(&self) -> usize {
        self.longest_event
    }

    fn density(&self, call: &Call) -> Density {
        match &call.path {
            Path::Fixed(path) if HEARS.contains(&path.as_ref()) => Density::TRANSCRIPT,
            _ => self.density,
        }
    }

    fn read(&self, head: &Head<'_>, body: Bytes) -> Result<Call, Rejection> {
        let path = self.target(head.path).unwrap_or(self.paths[0]);
        let kind = content_type(head);
        let is_form = is_form(kind);
        let asked = if is_form {
            form(&body, kind)?
        } else {
            let fields = body::scan(&body, &["model", "stream", "n"])?;
            Asked {
                model: body::model(&body, fields.get(0))?,
                at: fields.get(0),
                stream: body::flag(&body, fields.get(1), "stream")?,
                copies: body::count(&body, fields.get(2)),
                choices: known::choices(&body, &fields.members),
            }
        };
        let Asked {
            model,
            at,
            stream,
            copies,
            mut choices,
        } = asked;
        // An image has a background, and speech a speed.
        choices.retain(|choice| !matches!(&*choice.key, "background" | "speed"));
        Ok(Call {
            stream,
            choices,
            billed: self.billed,
            answer_limit: Some(self.expected(path, copies, body.len() as u64)),
            path: Path::Fixed(Cow::Borrowed(path)),
            splice: Splice {
                model: at,
                json: !is_form,
                ..Splice::default()
            },
            ..Call::new(self.kind(), model, body)
        })
    }

    fn may_name_no_model(&self, path: &str) -> Option<&'static str> {
        match self.target(path)? {
            "/v1/moderations" => Some("moderations"),
            "/v1/audio/speech" => Some("speech"),
            path if HEARS.contains(&path) => Some("transcriptions"),
            path if path.starts_with("/v1/images/") => Some("images"),
            _ => None,
        }
    }

    fn with_model(&self, head: &Head<'_>, body: &Bytes, model: &str) -> Option<Bytes> {
        let kind = content_type(head);
        if is_form(kind) {
            return multipart::with_field(body, kind, "model", model).map(Bytes::from);
        }
        let fields = body::scan(body, &["model"]).ok()?;
        let literal = serde_json::Value::from(model).to_string();
        let (at, text) = if let Some(at) = fields.get(0) {
            (at, literal)
        } else {
            let comma = if fields.is_empty { "" } else { "," };
            let member = format!(r#""model":{literal}{comma}"#);
            (fields.open..fields.open, member)
        };
        Some(
            [&body[..at.start], text.as_bytes(), &body[at.end..]]
                .concat()
                .into(),
        )
    }

    fn prepare(&self, call: &Call, to: &Destination<'_>) -> Result<Outbound, Rejection> {
        Ok(call.outbound(to.model))
    }

    fn meter(&self, call: &Call, _: usize) -> Box<dyn Meter> {
        Box::new(usage::Whole::new(self.density(call)))
    }

    fn refuse(&self, rejection: &Rejection) -> Response<Body> {
        openai_error::refuse(rejection)
    }

    fn stream_error(&self, _: &Call, rejection: &Rejection) -> Bytes {
        openai_error::event(rejection)
    }
}

/// What a request tells.
struct Asked {
    model: String,
    /// Where the model stands.
    at: Option<Range<usize>>,
    stream: bool,
    /// How many results are wanted.
    copies: Option<u64>,
    /// What else is chosen.
    choices: Vec<known::Choice>,
}
fn content_type<'h>(head: &Head<'h>) -> &'h str {
    let kind = head.headers.get(header::CONTENT_TYPE);
    kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default()
}

fn is_form(kind: &str) -> bool {
    let start = kind.get(..FORM.len());
    start.is_some_and(|start| start.eq_ignore_ascii_case(FORM))
}

fn form(body: &[u8], kind: &str) -> Result<Asked, Rejection> {
    let fields = multipart::scan(body, kind, &["model", "stream", "n"])
        .map_err(|error| bad_request(format!("the form is not acceptable: {error}")))?;
    let text = |nth: usize| {
        fields[nth]
            .clone()
            .and_then(|at| std::str::from_utf8(&body[at]).ok())
    };
    let model = text(0)
        .filter(|model| is_model(model))
        .ok_or_else(|| body::no_model("the form has no `model`"))?;
    let stream = text(1).is_some_and(|stream| stream.eq_ignore_ascii_case("true"));
    let names = multipart::names(body, kind)
        .map_err(|error| bad_request(format!("the form is not acceptable: {error}")))?;
    let choices = known::form_choices(names.iter().map(String::as_str));
    Ok(Asked {
        model: model.to_owned(),
        at: fields[0].clone(),
        stream,
        copies: text(2).and_then(|copies| copies.trim().parse().ok()),
        choices,
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    fn read(companion: &Companion, path: &str, kind: &str, body: &str) -> Result<Call, Rejection> {
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
        let call = read(
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
        let call = read(
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
            read(
                &RERANK,
                "/rerank",
                "multipart/form-data; boundary=X",
                "--X--\r\n"
            )
            .is_err()
        );
    }
}
