//! A caller's completion. It is translated as a chat of one turn; what only a model's own template or
//! tokens can express is refused.

use super::images::images;
use super::read_request::common;
use crate::formats::translate::{Fields, Inbound, Json, Part, Request, Role, Turn, Untranslatable};

pub(super) fn read(inbound: &Inbound<'_>) -> Result<Request, Untranslatable> {
    let mut body = Fields::of_body(inbound.body)?;
    let mut request = common(&mut body, inbound)?;
    // Clients send those that they don't use as empty ones.
    for (key, why) in [
        (
            "suffix",
            "can't be translated: only the end of a text can be written",
        ),
        (
            "template",
            "can't be translated: the provider has the model's own",
        ),
    ] {
        if body.text(key)?.is_some_and(|text| !text.is_empty()) {
            return Err(body.refuse(key, why));
        }
    }
    if body.flag("raw")? == Some(true) {
        return Err(body.refuse(
            "raw",
            "can't be translated: the provider has the model's template",
        ));
    }
    match body.value("context") {
        None => {}
        Some(Json::List(tokens)) if tokens.is_empty() => {}
        Some(_) => {
            let why = "can't be translated: it has tokens of another model; use /api/chat";
            return Err(body.refuse("context", why));
        }
    }
    if let Some(system) = body.text("system")?.filter(|system| !system.is_empty()) {
        let turn = Turn::new(Role::System, vec![Part::text(system)]);
        request.turns.push(turn);
    }
    let mut parts = vec![Part::text(body.text("prompt")?.unwrap_or_default())];
    parts.extend(images(&mut body)?);
    request.turns.push(Turn::new(Role::User, parts));
    body.end()?;
    Ok(request)
}
