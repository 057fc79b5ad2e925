//! `GET /`, for those who ask for no page. Ollama's clients look there for its words.

use crate::web::api::endpoint::{Endpoint, Handler};
use crate::web::api::text;

pub(in crate::web::api) const ENDPOINT: Endpoint = Endpoint {
    path: "/",
    name: "Root",
    about: "A greeting.",
    handler: Handler::Role(|_| {
        let greeting = "Iris, an AI gateway. Models: /v1/models and /api/tags\nOllama is running\n";
        Box::pin(async move { Ok(text(greeting)) })
    }),
    ..Endpoint::GET
};
