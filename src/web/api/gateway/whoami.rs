//! `GET /api/whoami`.

use schemars::JsonSchema;
use serde::Serialize;

use crate::policy::access::Role;
use crate::web::api::endpoint::{Endpoint, Handler, json_of};
use crate::web::api::json;
use crate::web::reader::Reader;

pub(in crate::web::api) const ENDPOINT: Endpoint = Endpoint {
    path: "/api/whoami",
    name: "Whoami",
    about: "Who you are taken for.",
    answer: json_of::<Whoami>(),
    handler: Handler::Role(|call| Box::pin(async move { Ok(json(&Whoami::of(call.reader))) })),
    ..Endpoint::GET
};

#[derive(Serialize, JsonSchema)]
struct Whoami {
    login: String,
    node_id: String,
    node_name: String,
    tags: Vec<String>,
    groups: Vec<String>,
    picture: Option<String>,
    #[schemars(with = "String", extend("enum" = ["user", "admin"]))]
    role: Role,
}

impl Whoami {
    fn of(reader: &Reader<'_>) -> Self {
        let caller = reader.caller;
        Self {
            login: caller.name().to_owned(),
            node_id: caller.node_id().to_owned(),
            node_name: caller.node_name().to_owned(),
            tags: caller.tags().to_vec(),
            groups: caller.groups().to_vec(),
            picture: caller.picture().map(str::to_owned),
            role: reader.permit.role(),
        }
    }
}
