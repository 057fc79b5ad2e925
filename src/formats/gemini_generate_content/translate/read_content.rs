//! The conversation of a caller's request.

use std::collections::{HashMap, HashSet, VecDeque};

use super::{kind_of, signature};
use crate::formats::translate::{
    Content, Fields, Item, Json, Media, MediaKind, Part, Request, Role, SealKind, Source, Text,
    Thought, ToolCall, ToolResult, Turn, Untranslatable,
};
use aws_smithy_types::base64;

type Read<T> = Result<T, Untranslatable>;

/// Hosts whose pages the API takes as films.
const FILMS: [&str; 3] = [
    "https://www.youtube.com/",
    "https://youtu.be/",
    "https://youtube.com/",
];
/// Files that only Google can read.
const OWN_FILES: [&str; 2] = ["gs://", "https://generativelanguage.googleapis.com/"];

/// Reads `systemInstruction` and `contents`.
pub(super) fn read(body: &mut Fields, request: &mut Request) -> Read<()> {
    let mut reader = Reader {
        dropped: &mut request.dropped,
        calls: Calls::default(),
    };
    if let Some(system) = body.object("systemInstruction")? {
        let turn = Turn::new(Role::System, reader.content(system)?.1);
        request.turns.push(turn);
    }
    for item in body.list("contents")? {
        let (role, parts) = reader.content(item.object()?)?;
        match request.turns.last_mut() {
            // The SDKs keep each piece of a stream as a content of its own.
            Some(last) if role == Role::Assistant && last.role == role => {
                for part in parts {
                    add(part, &mut last.parts);
                }
            }
            _ => request.turns.push(Turn::new(role, parts)),
        }
    }
    Ok(())
}

struct Reader<'r> {
    dropped: &'r mut Vec<String>,
    calls: Calls,
}

impl Reader<'_> {
    fn content(&mut self, mut content: Fields) -> Read<(Role, Vec<Part>)> {
        let role = match content.text("role")?.as_deref() {
            None | Some("" | "user" | "function" | "tool") => Role::User,
            Some("system") => Role::System,
            Some("model") => Role::Assistant,
            Some(_) => return Err(content.refuse("role", "isn't known")),
        };
        let mut parts = Vec::new();
        for item in content.list("parts")? {
            for part in self.part(item)? {
                if role == Role::Assistant {
                    add(part, &mut parts);
                } else {
                    parts.push(part);
                }
            }
        }
        content.end()?;
        Ok((role, parts))
    }

    /// A part, and before it the signature that belongs to it.
    fn part(&mut self, item: Item) -> Read<Vec<Part>> {
        let mut part = item.object()?;
        part.drop_hints(&["partMetadata"], self.dropped);
        let signed = part.text("thoughtSignature")?.unwrap_or_default();
        if part.flag("thought")? == Some(true) {
            let thought = Thought {
                text: part.text("text")?.unwrap_or_default(),
                seal: signature::read(&signed, SealKind::Signature),
            };
            part.end()?;
            return Ok(vec![Part::new(Content::Reasoning(thought))]);
        }
        let seal = signature::read(&signed, SealKind::Next);
        let seal = seal.map(|seal| Thought {
            text: String::new(),
            seal: Some(seal),
        });
        let mut parts: Vec<Part> = seal
            .map(Content::Reasoning)
            .map(Part::new)
            .into_iter()
            .collect();
        let content = if let Some(text) = part.text("text")? {
            // An empty one is there for its signature.
            (!text.is_empty()).then(|| Content::Text(Text::new(text)))
        } else if let Some(data) = part.object("inlineData")? {
            let mut media = inline(data)?;
            media.detail = self.detail(&mut part)?;
            Some(Content::Media(media))
        } else if let Some(file) = part.object("fileData")? {
            let mut media = self::file(file)?;
            media.detail = self.detail(&mut part)?;
            Some(Content::Media(media))
        } else if let Some(call) = part.object("functionCall")? {
            Some(Content::ToolCall(self.call(call)?))
        } else if let Some(result) = part.object("functionResponse")? {
            Some(Content::ToolResult(self.result(result)?))
        } else {
            None
        };
        part.end()?;
        parts.extend(content.map(Part::new));
        Ok(parts)
    }

    fn detail(&mut self, part: &mut Fields) -> Read<Option<String>> {
        let Some(mut resolution) = part.object("mediaResolution")? else {
            return Ok(None);
        };
        let level = resolution.text("level")?.unwrap_or_default();
        let detail = match level.as_str() {
            "MEDIA_RESOLUTION_LOW" => Some("low"),
            "MEDIA_RESOLUTION_HIGH" | "MEDIA_RESOLUTION_ULTRA_HIGH" => Some("high"),
            _ => None,
        };
        resolution.drop_hints(&["numTokens"], self.dropped);
        resolution.end()?;
        Ok(detail.map(str::to_owned))
    }

    fn call(&mut self, mut call: Fields) -> Read<ToolCall> {
        let name = call.needed_text("name")?;
        let id = call.text("id")?.filter(|id| !id.is_empty());
        let arguments = match call.value("args") {
            None => "{}".to_owned(),
            Some(args @ Json::Object(_)) => args.to_string(),
            Some(_) => return Err(call.refuse("args", "isn't an object")),
        };
        call.end()?;
        Ok(ToolCall {
            id: self.calls.made(id, &name),
            name,
            arguments,
            is_freeform: false,
        })
    }

    fn result(&mut self, mut result: Fields) -> Read<ToolResult> {
        let name = result.needed_text("name")?;
        let id = result.text("id")?.filter(|id| !id.is_empty());
        let id = self.calls.answered(id, &name);
        let id = id.ok_or_else(|| result.refuse("name", "answers no `functionCall`"))?;
        let (text, is_error) = match result.value("response") {
            None => (None, false),
            Some(Json::Object(mut response)) => {
                let mut only = |key| {
                    let mut keys = response.members().map(|(key, _)| key);
                    let is_only = keys.next() == Some(key) && keys.next().is_none();
                    drop(keys);
                    is_only.then(|| response.take(key)).flatten()
                };
                if let Some(error) = only("error") {
                    (Some(error), true)
                } else if let Some(output) = only("output").or_else(|| only("result")) {
                    (Some(output), false)
                } else {
                    (Some(response.into()), false)
                }
            }
            Some(_) => return Err(result.refuse("response", "isn't an object")),
        };
        let text = text.map(|value| match value {
            Json::Text(text) => text,
            value => value.to_string(),
        });
        let mut parts: Vec<Part> = text.map(Part::text).into_iter().collect();
        for item in result.list("parts")? {
            let mut part = item.object()?;
            let media = match part.object("inlineData")? {
                Some(data) => inline(data)?,
                None => file(part.needed_object("fileData")?)?,
            };
            part.end()?;
            parts.push(Part::new(Content::Media(media)));
        }
        if result.flag("willContinue")? == Some(true) {
            return Err(result.refuse("willContinue", "can't be translated"));
        }
        result.end()?;
        Ok(ToolResult {
            id,
            name: Some(name),
            parts,
            is_error,
            is_freeform: false,
        })
    }
}

/// Calls of functions so far. Many have no id: a result then answers the first of its name.
#[derive(Default)]
struct Calls {
    count: usize,
    by_name: HashMap<String, VecDeque<String>>,
    answered: HashSet<String>,
}

impl Calls {
    fn made(&mut self, id: Option<String>, name: &str) -> String {
        self.count += 1;
        let id = id.unwrap_or_else(|| format!("call_{}", self.count));
        let waiting = self.by_name.entry(name.to_owned()).or_default();
        waiting.push_back(id.clone());
        id
    }

    fn answered(&mut self, id: Option<String>, name: &str) -> Option<String> {
        let id = id.or_else(|| {
            let waiting = self.by_name.get_mut(name)?;
            std::iter::from_fn(|| waiting.pop_front()).find(|id| !self.answered.contains(id))
        })?;
        self.answered.insert(id.clone());
        Some(id)
    }
}

/// Adds a part of the model's. Texts and thoughts that follow each other are pieces of one.
fn add(part: Part, parts: &mut Vec<Part>) {
    match (parts.last_mut().map(|part| &mut part.content), part.content) {
        (Some(Content::Text(last)), Content::Text(text)) => last.text.push_str(&text.text),
        (Some(Content::Reasoning(last)), Content::Reasoning(next))
            if last.seal.is_none() && is_of_own(&next) =>
        {
            last.text.push_str(&next.text);
            last.seal = next.seal;
        }
        (_, content) => parts.push(Part::new(content)),
    }
}

/// Whether it goes on with the thought before, and doesn't belong to what follows.
fn is_of_own(thought: &Thought) -> bool {
    let seal = thought.seal.as_ref();
    seal.is_none_or(|seal| seal.kind != SealKind::Next)
}

fn inline(mut data: Fields) -> Read<Media> {
    let mime = data.text("mimeType")?;
    let name = data.text("displayName")?;
    let bytes = data.needed_text("data")?;
    data.end()?;
    let bytes = signature::standard(&bytes);
    let kind = mime.as_deref().map_or(MediaKind::Document, kind_of);
    let is_text = mime.as_deref().is_some_and(is_text);
    let source = match text(&bytes).filter(|_| is_text) {
        Some(text) => Source::Text(text),
        None => Source::Inline(bytes),
    };
    let mut media = Media::new(kind, mime, source);
    media.name = name.filter(|_| kind == MediaKind::Document);
    Ok(media)
}

fn is_text(mime: &str) -> bool {
    mime.starts_with("text/") || mime == "application/json"
}

fn text(bytes: &str) -> Option<String> {
    String::from_utf8(base64::decode(bytes).ok()?).ok()
}

fn file(mut file: Fields) -> Read<Media> {
    let url = file.needed_text("fileUri")?;
    let mime = file.text("mimeType")?;
    let name = file.text("displayName")?;
    if OWN_FILES.into_iter().any(|own| url.starts_with(own)) {
        let why = "can't be translated: only Google can read the file";
        return Err(file.refuse("fileUri", why));
    }
    let kind = match mime.as_deref().or_else(|| type_of(&url)) {
        _ if FILMS.into_iter().any(|host| url.starts_with(host)) => MediaKind::Video,
        Some(mime) => kind_of(mime),
        None => return Err(file.refuse("mimeType", "is missing")),
    };
    file.end()?;
    let mut media = Media::new(kind, mime, Source::Url(url));
    media.name = name.filter(|_| kind == MediaKind::Document);
    Ok(media)
}

/// The content type that the end of a URL's path stands for.
pub(super) fn type_of(url: &str) -> Option<&'static str> {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    let (_, end) = path.rsplit_once('.')?;
    Some(match end.to_ascii_lowercase().as_str() {
        "gif" => "image/gif",
        "heic" => "image/heic",
        "jpeg" | "jpg" => "image/jpeg",
        "png" => "image/png",
        "webp" => "image/webp",
        "pdf" => "application/pdf",
        "csv" => "text/csv",
        "html" => "text/html",
        "md" | "txt" => "text/plain",
        "mp3" => "audio/mp3",
        "wav" => "audio/wav",
        "mp4" => "video/mp4",
        _ => return None,
    })
}
