//! The models that a gateway offers, as programs need them: which of them can be chatted with in a format, how much
//! they take, and which costs least.

use serde_json::Value;

use super::agents::{self, Listed, Speaks};

/// A model that the caller may use.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Offered {
    /// What it is called in a request.
    pub id: String,
    /// Its provider's id.
    pub provider: String,
    /// The paths at which it can be asked, with a translation or without.
    pub endpoints: Vec<String>,
    /// Dollars for a token read and one written, where both prices are known.
    pub price: Option<(f64, f64)>,
    /// Tokens of the longest conversation, where that is known.
    pub context: Option<u64>,
    /// Tokens of the longest answer, where that is known.
    pub output: Option<u64>,
    /// Whether the provider takes callers' own credentials.
    pub takes_own: bool,
    /// Whether it holds conversations: it isn't one for embeddings, speech or pictures.
    pub chats: bool,
}

impl Offered {
    /// All of a gateway's list whose names are no more than names ([`agents::is_name`]), each once.
    pub fn all(list: &Value) -> Vec<Self> {
        let rows = list["data"].as_array().map_or(&[][..], Vec::as_slice);
        let mut all: Vec<Self> = Vec::new();
        for one in rows.iter().filter_map(Self::of) {
            // Several providers of one model are one to a program.
            match all.iter_mut().find(|known| known.id == one.id) {
                Some(known) => known.join(one),
                None => all.push(one),
            }
        }
        all
    }

    fn of(row: &Value) -> Option<Self> {
        let id = row["id"].as_str().filter(|id| agents::is_name(id))?;
        let endpoints = row["supported_endpoints"].as_array();
        let endpoints = endpoints.into_iter().flatten().filter_map(Value::as_str);
        let rate = |name: &str| row["pricing"][name].as_str()?.parse::<f64>().ok();
        let (read, written) = (rate("input"), rate("output"));
        Some(Self {
            id: id.to_owned(),
            provider: row["owned_by"].as_str().unwrap_or_default().to_owned(),
            endpoints: endpoints.map(str::to_owned).collect(),
            price: read.zip(written),
            context: row["context_window_tokens"].as_u64(),
            output: row["max_output_tokens"].as_u64(),
            takes_own: row["metadata"]["provider"]["requires_client_auth"] == true,
            chats: holds_conversations(id) && (read.is_none() || written.is_some()),
        })
    }

    fn join(&mut self, other: Self) {
        for endpoint in other.endpoints {
            if !self.endpoints.contains(&endpoint) {
                self.endpoints.push(endpoint);
            }
        }
    }

    /// Whether a name is its own, with its provider in front or without.
    pub fn is(&self, name: &str) -> bool {
        self.id == name || format!("{}/{}", self.provider, self.id) == name
    }

    /// Whether it can be chatted with in a format.
    pub fn speaks(&self, format: Speaks) -> bool {
        self.chats && self.endpoints.iter().any(|one| one == format.endpoint())
    }

    /// What a typical request costs for each token, if that is known: agents read ten times what they write.
    fn typical(&self) -> Option<f64> {
        self.price.map(|(read, written)| read * 10.0 + written)
    }
}

/// The models for a program that speaks a format, and the one for what it does in the background, as it begins with
/// `model`: the cheapest of them, unless that isn't known or `model` costs less.
pub fn for_program<'o>(all: &'o [Offered], format: Speaks, model: &str) -> (Vec<Listed>, &'o str) {
    let fitting = all.iter().filter(|one| one.speaks(format));
    // A program without a login of its own at the provider can't use those.
    let main = all.iter().find(|one| one.is(model));
    let own_login = main.is_some_and(|one| one.takes_own);
    let usable = fitting.filter(|one| !one.takes_own || own_login);
    let listed = usable.clone().map(|one| Listed {
        id: one.id.clone(),
        context: one.context,
        output: one.output,
    });
    let typical = main.and_then(Offered::typical);
    let less = usable.filter(|one| {
        let both = one.typical().zip(typical);
        both.is_some_and(|(this, main)| this < main)
    });
    let background = cheapest(less).or(main).map_or("", |one| one.id.as_str());
    (listed.collect(), background)
}

/// The one of several that costs least; the first where no price is known.
pub fn cheapest<'o>(mut models: impl Iterator<Item = &'o Offered>) -> Option<&'o Offered> {
    let first = models.next()?;
    Some(
        models.fold(first, |least, one| match (one.typical(), least.typical()) {
            (Some(this), Some(known)) if this < known => one,
            (Some(_), None) => one,
            _ => least,
        }),
    )
}

/// Whether a model's name isn't one of those that models for other purposes have.
pub fn holds_conversations(id: &str) -> bool {
    const OTHERS: [&str; 17] = [
        "bge-",
        "dall-e",
        "davinci-002",
        "babbage-002",
        "embed",
        "flux",
        "gpt-image",
        "imagen",
        "minilm",
        "moderation",
        "rerank",
        "sora",
        "stable-diffusion",
        "transcribe",
        "tts",
        "veo-",
        "whisper",
    ];
    let id = id.to_ascii_lowercase();
    !OTHERS.iter().any(|other| id.contains(other))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn list() -> Value {
        let chat = json!(["/v1/chat/completions"]);
        let row = |id: &str, pricing: Value| json!({ "id": id, "owned_by": "p", "supported_endpoints": chat, "pricing": pricing });
        json!({ "data": [
            row("large", json!({ "input": "0.000003", "output": "0.000015" })),
            row("unpriced", Value::Null),
            row("small", json!({ "input": "0.0000001", "output": "0.0000004" })),
            row("text-embedding-3-small", json!({ "input": "0.00000002" })),
            row("vectors", json!({ "input": "0.00000002" })),
            row("nomic-embed-text", Value::Null),
            row("$(id)", Value::Null),
            { "id": "large", "owned_by": "q", "supported_endpoints": ["/v1/messages"] },
        ] })
    }

    #[test]
    fn models_for_other_purposes_are_not_chatted_with() {
        let all = Offered::all(&list());
        let chats = all.iter().filter(|one| one.speaks(Speaks::Chat));
        let chats: Vec<&str> = chats.map(|one| &*one.id).collect();
        assert_eq!(chats, ["large", "unpriced", "small"]);
        assert!(all[0].speaks(Speaks::Messages) && !all[0].speaks(Speaks::Responses));
        for (id, chats) in [
            ("qwen3-coder-30b", true),
            ("claude-haiku-4-5", true),
            ("Qwen3-Embedding-0.6B", false),
            ("whisper-1", false),
            ("gpt-4o-mini-tts", false),
            ("BAAI/bge-m3", false),
        ] {
            assert_eq!(holds_conversations(id), chats, "{id}");
        }
    }

    #[test]
    fn what_is_done_in_the_background_costs_least() {
        let all = Offered::all(&list());
        let (listed, background) = for_program(&all, Speaks::Chat, "large");
        let ids: Vec<&str> = listed.iter().map(|one| &*one.id).collect();
        assert_eq!(ids, ["large", "unpriced", "small"]);
        assert_eq!(background, "small");
        assert_eq!(for_program(&all, Speaks::Chat, "small").1, "small");
        assert_eq!(for_program(&all, Speaks::Chat, "unpriced").1, "unpriced");
        let mut own = all.clone();
        own[2].takes_own = true;
        let (listed, background) = for_program(&own, Speaks::Chat, "large");
        assert_eq!((listed.len(), background), (2, "large"));
        assert_eq!(for_program(&own, Speaks::Chat, "small").0.len(), 3);
    }

    #[test]
    fn the_cheapest_is_one_with_a_price_if_there_is_any() {
        let all = Offered::all(&list());
        let chats = all.iter().filter(|one| one.chats);
        assert_eq!(cheapest(chats.clone()).unwrap().id, "small");
        let unpriced = chats.filter(|one| one.price.is_none());
        assert_eq!(cheapest(unpriced).unwrap().id, "unpriced");
        assert_eq!(cheapest([].iter()), None);
    }
}
