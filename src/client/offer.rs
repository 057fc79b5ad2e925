//! The models that a gateway offers, as programs need them: which of them can be chatted with in a format, how much
//! they take, and which costs least.

use serde_json::Value;

use super::agents::{self, Listed, Speaks};

/// A model that the caller may use.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Offered {
    /// What it is called in a request.
    pub id: String,
    /// Its providers, in the order of the list.
    pub providers: Vec<Provider>,
    /// Dollars for a token read and one written, where both prices are known.
    pub price: Option<(f64, f64)>,
    /// Tokens of the longest conversation, where that is known.
    pub context: Option<u64>,
    /// Tokens of the longest answer, where that is known.
    pub output: Option<u64>,
    /// Whether it holds conversations: it isn't one for embeddings, speech or pictures.
    pub chats: bool,
}

/// A provider of a model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Provider {
    pub id: String,
    /// The paths at which the model can be asked there, with a translation or without.
    pub endpoints: Vec<String>,
    /// Whether it takes callers' own credentials.
    pub takes_own: bool,
}

impl Offered {
    /// All of a gateway's list whose names are no more than names ([`agents::is_name`]), each once.
    pub fn all(list: &Value) -> Vec<Self> {
        let rows = list["data"].as_array().map_or(&[][..], Vec::as_slice);
        let mut all: Vec<Self> = Vec::new();
        for one in rows.iter().filter_map(Self::of) {
            // Several providers of one model are one to a program.
            match all.iter_mut().find(|known| known.id == one.id) {
                Some(known) => known.providers.extend(one.providers),
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
        let provider = Provider {
            id: row["owned_by"].as_str().unwrap_or_default().to_owned(),
            endpoints: endpoints.map(str::to_owned).collect(),
            takes_own: row["metadata"]["provider"]["requires_client_auth"] == true,
        };
        Some(Self {
            id: id.to_owned(),
            providers: vec![provider],
            price: read.zip(written),
            context: row["context_window_tokens"].as_u64(),
            output: row["max_output_tokens"].as_u64(),
            chats: holds_conversations(id) && (read.is_none() || written.is_some()),
        })
    }

    /// The providers that can get a request for `name`: all for the model's id, one for `PROVIDER/MODEL`.
    fn named<'o>(&'o self, name: &str) -> impl Iterator<Item = &'o Provider> {
        let is_named = move |one: &&Provider| {
            self.id == name
                || name
                    .strip_prefix(&one.id)
                    .and_then(|rest| rest.strip_prefix('/'))
                    == Some(self.id.as_str())
        };
        self.providers.iter().filter(is_named)
    }

    /// Those of them that can be asked in a format.
    fn asked(&self, name: &str, format: Speaks) -> impl Iterator<Item = &Provider> {
        let speaks =
            move |one: &&Provider| one.endpoints.iter().any(|path| path == format.endpoint());
        self.named(name).filter(speaks)
    }

    /// Whether a name is its own, with one of its providers in front or without.
    pub fn is(&self, name: &str) -> bool {
        self.named(name).next().is_some()
    }

    /// Whether it can be asked by a name in a format.
    pub fn can_be_asked(&self, name: &str, format: Speaks) -> bool {
        self.asked(name, format).next().is_some()
    }

    /// Whether it can be chatted with in a format.
    pub fn speaks(&self, format: Speaks) -> bool {
        self.chats && self.can_be_asked(&self.id, format)
    }

    /// Whether a provider that can get the request takes callers' own credentials.
    pub fn takes_own(&self, name: &str, format: Speaks) -> bool {
        self.asked(name, format).any(|one| one.takes_own)
    }

    /// Whether each provider that can get the request takes callers' own credentials.
    pub fn needs_own(&self, name: &str, format: Speaks) -> bool {
        self.takes_own(name, format) && self.asked(name, format).all(|one| one.takes_own)
    }

    /// What a typical request costs for each token, if that is known: agents read ten times what they write.
    fn typical(&self) -> Option<f64> {
        self.price.map(|(read, written)| read * 10.0 + written)
    }
}

/// The models for a program that speaks a format, and the one for what it does in the background, as it begins with
/// `model`: the cheapest of them, unless that isn't known or `model` costs less. `keeps_login` is whether the
/// program stays signed in at a provider that takes callers' own credentials.
pub fn for_program<'o>(
    all: &'o [Offered],
    format: Speaks,
    model: &'o str,
    keeps_login: bool,
) -> (Vec<Listed>, &'o str) {
    let fitting = all.iter().filter(|one| one.speaks(format));
    let main = all.iter().find(|one| one.is(model));
    let sends_own = |one: &&Offered| keeps_login || one.needs_own(model, format);
    let asked = main
        .filter(sends_own)
        .into_iter()
        .flat_map(|one| one.asked(model, format));
    let takers = asked.filter(|one| one.takes_own).map(|one| one.id.as_str());
    let takers: Vec<&str> = takers.collect();
    let usable = fitting.filter(|one| {
        if takers.is_empty() {
            return !one.needs_own(&one.id, format);
        }
        // A credential of the program's own goes along with each request, and must reach no other provider.
        let mut asked = one.asked(&one.id, format);
        asked.all(|one| !one.takes_own || takers.contains(&one.id.as_str()))
    });
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
    let background = cheapest(less).map_or(model, |one| one.id.as_str());
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
        for (name, chat, messages) in [
            ("large", true, true),
            ("p/large", true, false),
            ("q/large", false, true),
            ("r/large", false, false),
        ] {
            let asked =
                [Speaks::Chat, Speaks::Messages].map(|format| all[0].can_be_asked(name, format));
            assert_eq!(asked, [chat, messages], "{name}");
            assert_eq!(all[0].is(name), chat || messages, "{name}");
        }
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
        let of = |model| for_program(&all, Speaks::Chat, model, false);
        let (listed, background) = of("large");
        let ids: Vec<&str> = listed.iter().map(|one| &*one.id).collect();
        assert_eq!(ids, ["large", "unpriced", "small"]);
        assert_eq!(background, "small");
        for model in ["small", "unpriced", "p/small", "unknown"] {
            assert_eq!(of(model).1, model);
        }
    }

    #[test]
    fn a_login_goes_to_the_provider_of_the_chosen_model_alone() {
        let row = |id: &str, provider: &str, takes_own: bool, price: &str| {
            json!({
                "id": id,
                "owned_by": provider,
                "supported_endpoints": ["/v1/messages"],
                "pricing": { "input": price, "output": price },
                "metadata": { "provider": { "requires_client_auth": takes_own } },
            })
        };
        let all = Offered::all(&json!({ "data": [
            row("opus", "p", true, "9"),
            row("haiku", "p", true, "5"),
            row("other", "q", true, "1"),
            row("keyed", "k", false, "4"),
            row("both", "k", false, "3"),
            row("both", "p", true, "3"),
            row("mixed", "k", false, "2"),
            row("mixed", "q", true, "2"),
        ] }));
        let of = |model, keeps_login| {
            let (listed, background) = for_program(&all, Speaks::Messages, model, keeps_login);
            let ids: Vec<String> = listed.into_iter().map(|one| one.id).collect();
            (ids.join(" "), background)
        };
        for keeps_login in [true, false] {
            let found = of("opus", keeps_login);
            assert_eq!(found, ("opus haiku keyed both".to_owned(), "both"));
            let found = of("q/other", keeps_login);
            assert_eq!(found, ("other keyed mixed".to_owned(), "q/other"));
            for keyed in ["keyed", "k/both"] {
                let found = of(keyed, keeps_login);
                assert_eq!(found, ("keyed both mixed".to_owned(), "mixed"));
            }
        }
        // A provider that has a key gets no login of a program that sends none.
        assert_eq!(
            of("both", true),
            ("opus haiku keyed both".to_owned(), "both")
        );
        assert_eq!(of("both", false), ("keyed both mixed".to_owned(), "mixed"));
        let both = all.iter().find(|one| one.id == "both").unwrap();
        for (name, takes, needs) in [
            ("both", true, false),
            ("p/both", true, true),
            ("k/both", false, false),
        ] {
            assert_eq!(both.takes_own(name, Speaks::Messages), takes, "{name}");
            assert_eq!(both.needs_own(name, Speaks::Messages), needs, "{name}");
        }
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
