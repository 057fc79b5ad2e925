//! Embeddings of OpenAI's API (<https://platform.openai.com/docs/api-reference/embeddings>), for callers
//! of other formats.

use crate::formats::translate::{Failure, Json, Outbound, Texts, VectorProvider, Vectors, object};

/// How its providers are asked.
pub(super) static PROVIDER: VectorProvider = VectorProvider {
    write_request: write,
    read_response: read,
};

fn write(texts: &Texts) -> Outbound {
    let mut body = object! { "model": &texts.model, "input": texts.texts.clone() };
    body.put_some("dimensions", texts.dimensions);
    Outbound {
        path: "/v1/embeddings".to_owned(),
        query: None,
        body,
        left_out: Vec::new(),
    }
}

fn read(body: &Json) -> Result<Vectors, Failure> {
    let error = body.at("error");
    if let Some(words) = error.at("message").words().or(error.words()) {
        return Err(Failure::new(words));
    }
    let mut rows: Vec<(u64, &Json)> = Vec::new();
    for (nth, row) in (0..).zip(body.at("data").list()) {
        let vector = row.at("embedding");
        if !matches!(vector, Json::List(_)) {
            return Err(Failure::new("the provider's response has no vectors"));
        }
        rows.push((row.at("index").whole().unwrap_or(nth), vector));
    }
    rows.sort_by_key(|(index, _)| *index);
    Ok(Vectors {
        vectors: rows.into_iter().map(|(_, vector)| vector.clone()).collect(),
        input: body.at("usage").at("prompt_tokens").whole(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_come_in_the_order_of_the_texts() {
        let body = r#"{"data":[{"index":1,"embedding":[0.2]},{"index":0,"embedding":[0.1]}],"usage":{"prompt_tokens":3}}"#;
        let vectors = read(&Json::read(body.as_bytes()).unwrap()).unwrap();
        let numbers: Vec<String> = vectors.vectors.iter().map(Json::to_string).collect();
        assert_eq!(
            (numbers.join(" ").as_str(), vectors.input),
            ("[0.1] [0.2]", Some(3))
        );
        for odd in [
            r#"{"error":{"message":"no"}}"#,
            r#"{"data":[{"embedding":"AAAA"}]}"#,
        ] {
            assert!(read(&Json::read(odd.as_bytes()).unwrap()).is_err(), "{odd}");
        }
    }
}
