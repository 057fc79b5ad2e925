//! `GET /`, for those who ask for no page.

use crate::web::api::endpoint::{Endpoint, Handler};
use crate::web::api::text;

pub(in crate::web::api) const ENDPOINT: Endpoint = Endpoint {
    path: "/",
    name: "Root",
    about: "A greeting.",
    handler: Handler::Role(|_| {
        Box::pin(async { Ok(text("Iris, an AI gateway. Models: /v1/models\n")) })
    }),
    ..Endpoint::GET
};
