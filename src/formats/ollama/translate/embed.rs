//! A caller's request for embeddings, at `/api/embed` or the older `/api/embeddings`.

use crate::formats::translate::{
    Fields, Inbound, Item, Object, TextOrList, Texts, Untranslatable, VectorCaller, Vectors, object,
};

/// The path at which a request has one text, and its response one vector.
const OLDER: &str = "/api/embeddings";

/// How its callers are served.
pub(in crate::formats::ollama) static CALLER: VectorCaller = VectorCaller {
    read_request: read,
    write_response: write,
};

fn read(inbound: &Inbound<'_>) -> Result<Texts, Untranslatable> {
    let mut body = Fields::of_body(inbound.body)?;
    body.ignore(&["model", "stream"]);
    let mut texts = Texts {
        model: inbound.model.to_owned(),
        path: inbound.path.to_owned(),
        // Go's clients write zero for a number that is not set.
        dimensions: body.whole("dimensions")?.filter(|count| *count > 0),
        ..Texts::default()
    };
    body.drop_hints(&["keep_alive", "options"], &mut texts.dropped);
    // By default a text that is too long is cut. Other APIs refuse it.
    if body.flag("truncate")? == Some(true) {
        texts.dropped.push(body.path("truncate"));
    }
    let key = if inbound.path == OLDER {
        "prompt"
    } else {
        "input"
    };
    texts.texts = match body.text_or_list(key)? {
        None => return Err(body.refuse(key, "is missing")),
        Some(TextOrList::Text(text)) => vec![text],
        Some(TextOrList::List(list)) if inbound.path != OLDER => {
            let list = list.into_iter().map(Item::text);
            list.collect::<Result<_, _>>()?
        }
        Some(TextOrList::List(_)) => return Err(body.refuse(key, "isn't a string")),
    };
    body.end()?;
    Ok(texts)
}

fn write(texts: &Texts, vectors: Vectors) -> Object {
    if texts.path == OLDER {
        return object! { "embedding": vectors.vectors.into_iter().next() };
    }
    let mut response = object! { "model": &texts.model, "embeddings": vectors.vectors };
    response.put_some("prompt_eval_count", vectors.input);
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::translate::Json;

    fn asked(path: &str, body: &str) -> Result<Texts, Untranslatable> {
        read(&Inbound {
            path,
            query: None,
            model: "m",
            is_streamed: false,
            body: body.as_bytes(),
        })
    }

    #[test]
    fn texts_are_read_and_vectors_written_in_both_forms() {
        let texts = asked(
            "/api/embed",
            r#"{"model":"m","input":["a","b"],"dimensions":0,"keep_alive":"5m","truncate":true}"#,
        );
        let texts = texts.unwrap();
        assert_eq!((texts.texts.len(), texts.dimensions), (2, None));
        assert_eq!(texts.dropped, ["keep_alive", "truncate"]);
        let vectors = Vectors {
            vectors: vec![Json::read(b"[0.5]").unwrap(), Json::read(b"[1]").unwrap()],
            input: Some(4),
        };
        let written = write(&texts, vectors.clone()).to_string();
        assert_eq!(
            written,
            r#"{"model":"m","embeddings":[[0.5],[1]],"prompt_eval_count":4}"#
        );
        let older = asked(OLDER, r#"{"model":"m","prompt":"a","options":{}}"#).unwrap();
        assert_eq!(write(&older, vectors).to_string(), r#"{"embedding":[0.5]}"#);
        for (path, body, field) in [
            ("/api/embed", r#"{"model":"m"}"#, "input"),
            ("/api/embed", r#"{"model":"m","input":[1]}"#, "input[0]"),
            ("/api/embed", r#"{"model":"m","input":"a","x":1}"#, "x"),
            (OLDER, r#"{"model":"m","prompt":["a"]}"#, "prompt"),
        ] {
            assert_eq!(asked(path, body).unwrap_err().field, field);
        }
    }
}
