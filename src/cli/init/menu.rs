//! Choosing providers one after the other: what was found on this machine first, and of each other
//! kind only what has to be known of it.

use std::cell::RefCell;
use std::path::PathBuf;

use super::key::{self, Key, KeyPlace};
use super::provider::Provider;
use super::reach::{Outcome, Reach};
use super::service::{
    AWS_VARIABLES, BEDROCK_VARIABLE, Credential, GOOGLE_VARIABLE, Place, SERVICES, Service,
};
use super::spec::{self, Spec, Wanted, address, chosen, formats};
use super::terminal::{ask, ask_secret, choose, say};
use crate::cli::harmless;
use crate::discover::Server;

/// Models that are shown by name.
const SHOWN: usize = 12;

/// What the questions need.
pub(super) struct Menu<'a> {
    reach: &'a Reach,
    /// Where typed keys are kept.
    keys: PathBuf,
    /// Files there that are written at the end.
    promised: RefCell<Vec<PathBuf>>,
}

/// A line of the menu that was chosen, or an address.
enum Pick {
    Found(usize),
    Kind(&'static Service),
    Spec(Box<Spec>),
    Done,
}

impl<'a> Menu<'a> {
    pub(super) fn new(reach: &'a Reach, keys: PathBuf) -> Self {
        Self {
            reach,
            keys,
            promised: RefCell::default(),
        }
    }

    /// Asks for providers until there are enough.
    pub(super) fn providers(&self) -> anyhow::Result<Vec<Provider>> {
        let found = self.reach.found();
        let mut providers: Vec<Provider> = Vec::new();
        say("Providers of models:")?;
        for (nth, server) in found.iter().enumerate() {
            let models = shown(&server.models);
            let formats = server.formats.names().join(", ");
            let name = harmless(&server.name());
            say(&format!("  {:>2}  {name}: {models} ({formats})", nth + 1))?;
        }
        for (nth, service) in SERVICES.iter().enumerate() {
            say(&format!("  {:>2}  {}", found.len() + nth + 1, service.name))?;
        }
        loop {
            let all: Vec<String> = (1..=found.len()).map(|nth| nth.to_string()).collect();
            let all = all.join(" ");
            let usual = if !providers.is_empty() {
                Some("done")
            } else if found.is_empty() {
                None
            } else {
                Some(all.as_str())
            };
            let question = if providers.is_empty() {
                "Which? Numbers or addresses, such as http://gpu:8080, with spaces between"
            } else {
                "Another? Numbers or addresses, with spaces between"
            };
            let has_some = !providers.is_empty();
            let picks = ask(question, usual, |text| picks(text, found.len(), has_some))?;
            for pick in picks {
                let new = match pick {
                    Pick::Done => return Ok(providers),
                    Pick::Found(nth) => Some(Provider::found(&found[nth])),
                    Pick::Kind(service) => self.of_kind(service, &found)?,
                    Pick::Spec(spec) => self.of_spec(&spec, &found)?,
                };
                if let Some(mut new) = new {
                    if providers
                        .iter()
                        .any(|one| one.baseurl == new.baseurl && one.key == new.key)
                    {
                        say(&format!("  {} is there already.", new.baseurl))?;
                        continue;
                    }
                    new.rename(&providers);
                    let (id, count) = (&new.id, plural(new.models.len(), "model"));
                    say(&format!("  Added {id} with {count}."))?;
                    providers.push(new);
                }
            }
        }
    }

    /// A provider of a kind, by the questions that it takes.
    fn of_kind(
        &self,
        service: &'static Service,
        found: &[Server],
    ) -> anyhow::Result<Option<Provider>> {
        let provider = self.placed(service)?;
        self.tested(service, provider, &[], found)
    }

    /// A provider that was typed as on the command line; its key is asked for where the usual
    /// variable isn't set.
    fn of_spec(&self, spec: &Spec, found: &[Server]) -> anyhow::Result<Option<Provider>> {
        let service = spec.service();
        let mut provider = spec.provider()?;
        let lacks = |key: &Key| !key.missing(self.reach.config()).is_empty();
        if spec.key.is_none() && provider.key.as_ref().is_some_and(lacks) {
            let key = self.key(service, &provider)?;
            provider.set_key(service, key);
        }
        self.tested(service, provider, &spec.models, found)
    }

    /// A provider whose address and key are known.
    fn placed(&self, service: &Service) -> anyhow::Result<Provider> {
        let region = if service.has_region() {
            let usual = service.usual_region();
            let region = ask("  In which region?", usual.as_deref(), |text| {
                let part = |char: char| char.is_ascii_alphanumeric() || char == '-';
                anyhow::ensure!(
                    text.chars().all(part),
                    "{text:?} is not a region, such as eu-west-1"
                );
                Ok(text.to_owned())
            })?;
            Some(region)
        } else {
            None
        };
        let usual = service.url(region.as_deref());
        let baseurl = match (service.place, usual) {
            (Place::Own(_) | Place::Anywhere, usual) => {
                ask("  At which address?", usual.as_deref(), address)?
            }
            (_, usual) => usual.unwrap_or_default(),
        };
        let mut provider = Provider::new(service, &baseurl, None);
        if service.credential != Credential::None {
            let key = self.key(service, &provider)?;
            provider.set_key(service, key);
        }
        Ok(provider)
    }

    /// Asks a provider for what it has, and the person for what to do where that fails.
    fn tested(
        &self,
        service: &'static Service,
        mut provider: Provider,
        wanted: &[String],
        found: &[Server],
    ) -> anyhow::Result<Option<Provider>> {
        loop {
            say(&format!("  Asking {} …", provider.baseurl))?;
            let is_refused = match self.reach.ask(service, &provider) {
                Outcome::Good { models, formats } => {
                    if let Some(formats) = formats {
                        say(&format!("  It speaks {}.", formats.names().join(", ")))?;
                        provider.speaks(formats);
                    }
                    provider.models = models_of(&models, wanted)?;
                    // A server that was found keeps the name that it was shown with.
                    let is_it = |server: &&Server| server.baseurl() == provider.baseurl;
                    provider.name = found.iter().find(is_it).map(Server::name);
                    return Ok(Some(provider));
                }
                Outcome::Refused(why) => {
                    say(&format!("  {} refuses: {why}", service_name(service)))?;
                    true
                }
                Outcome::Failed(why) => {
                    let why = harmless(&why);
                    say(&format!(
                        "  {} cannot be asked: {why}",
                        service_name(service)
                    ))?;
                    false
                }
            };
            let (other, is_key) = match service.place {
                Place::Public(_) => ("Give another key", true),
                Place::Aws | Place::Google => ("Give another region or key", false),
                Place::Own(_) | Place::Anywhere if is_refused => ("Give a key", true),
                Place::Own(_) | Place::Anywhere => ("Give another address", false),
            };
            let choices = ["Try again", other, "Go on without the test", "Leave it out"];
            match choose("  What now?", &choices.map(str::to_owned))? {
                0 => {}
                1 if is_key => {
                    let key = self.key(service, &provider)?;
                    provider.set_key(service, key);
                }
                1 => provider = self.placed(service)?,
                2 => {
                    told(service, &mut provider, wanted)?;
                    return Ok(Some(provider));
                }
                _ => return Ok(None),
            }
        }
    }

    /// Where the key of a provider is.
    fn key(&self, service: &Service, provider: &Provider) -> anyhow::Result<Option<Key>> {
        match service.credential {
            Credential::Aws => self.aws(provider),
            Credential::ServiceAccount => account().map(Some),
            Credential::None => self.plain(&provider.usual_variable(), provider),
            Credential::Key(variable) => self.plain(variable, provider),
        }
    }

    fn plain(&self, variable: &str, provider: &Provider) -> anyhow::Result<Option<Key>> {
        let is_set = std::env::var(variable).is_ok_and(|value| !value.is_empty());
        let named = format!(
            "In the environment variable {variable}, which is {}",
            if is_set { "set" } else { "not set here" }
        );
        let typed = "I type it now".to_owned();
        let others = [
            "In another environment variable".to_owned(),
            "In a file".to_owned(),
            "It has no key".to_owned(),
        ];
        let first = if is_set {
            [named, typed]
        } else {
            [typed, named]
        };
        let choices = [&first[..], &others[..]].concat();
        let chosen = choose(
            "  Where is its key? It is never written into the configuration.",
            &choices,
        )?;
        match (chosen, is_set) {
            (0, true) | (1, false) => Ok(Some(Key::variable(variable))),
            (0 | 1, _) => self.typed(variable, provider).map(Some),
            (2, _) => {
                let name = ask("  The variable's name", None, |text| {
                    anyhow::ensure!(
                        key::is_variable(text),
                        "{text:?} is not a variable's name: use letters, digits and '_'"
                    );
                    Ok(text.to_owned())
                })?;
                Ok(Some(Key::variable(&name)))
            }
            (3, _) => {
                let place = ask("  The file's name", None, file)?;
                Ok(Some(spec::key_at(service_of(provider), &place)))
            }
            _ => Ok(None),
        }
    }

    /// A key that is typed, and where it goes.
    fn typed(&self, variable: &str, provider: &Provider) -> anyhow::Result<Key> {
        let secret = ask_secret("  The key")?;
        let path = self.free_file(&provider.id);
        let choices = [
            format!("Save it to {}, which only you can read", path.display()),
            format!("Don't save it; {variable} will be set when the gateway starts"),
        ];
        if choose("  Where should it be kept?", &choices)? == 0 {
            self.promised.borrow_mut().push(path.clone());
            return Ok(Key::stored(secret, &path));
        }
        Ok(Key::kept_elsewhere(secret, variable))
    }

    /// A file for a key that holds none yet.
    fn free_file(&self, id: &str) -> PathBuf {
        let promised = self.promised.borrow();
        let is_free =
            |path: &PathBuf| !promised.contains(path) && !path.try_exists().unwrap_or(true);
        let first = self.keys.join(format!("{id}.key"));
        let others = (2..1_000).map(|nth| self.keys.join(format!("{id}-{nth}.key")));
        let mut all = std::iter::once(first.clone()).chain(others);
        all.find(is_free).unwrap_or(first)
    }

    fn aws(&self, provider: &Provider) -> anyhow::Result<Option<Key>> {
        let set = |name: &str| std::env::var(name).is_ok_and(|value| !value.is_empty());
        let session = set(AWS_VARIABLES[2]);
        let state = |is_set: bool| if is_set { "set" } else { "not set here" };
        let choices = [
            format!(
                "Keys of AWS in {} and {}, which are {}",
                AWS_VARIABLES[0],
                AWS_VARIABLES[1],
                state(set(AWS_VARIABLES[0]) && set(AWS_VARIABLES[1]))
            ),
            format!("A Bedrock API key, in {BEDROCK_VARIABLE} or typed now"),
        ];
        if choose("  With which credential?", &choices)? == 0 {
            return Ok(Some(Key::aws(session)));
        }
        self.plain(BEDROCK_VARIABLE, provider)
    }
}

/// What a provider has and speaks, by the person's word.
fn told(service: &Service, provider: &mut Provider, wanted: &[String]) -> anyhow::Result<()> {
    let names = wanted.iter().filter(|one| !one.contains('*'));
    let names: Vec<String> = names.cloned().collect();
    provider.models = if names.is_empty() {
        let question = "  Which models does it have? Names with spaces between";
        ask(question, None, |text| Ok(words(text)))?
    } else {
        names
    };
    if service.flags.is_empty() && provider.flags.is_empty() {
        let question = "  Which formats does it speak? Of chat, responses (for Codex) and messages \
                        (for Claude Code)";
        provider.speaks(ask(question, Some("chat"), formats)?);
    }
    Ok(())
}

/// The key file of a Google service account.
fn account() -> anyhow::Result<Key> {
    let usual = std::env::var(GOOGLE_VARIABLE).ok();
    let question = "  Which file holds the JSON key of a service account?";
    let place = ask(question, usual.as_deref(), file)?;
    let service = Service::named("vertex").unwrap_or_else(|| Service::at(""));
    Ok(spec::key_at(service, &place))
}

fn file(text: &str) -> anyhow::Result<KeyPlace> {
    let place: KeyPlace = format!("file:{text}").parse()?;
    if let KeyPlace::File(path) = &place {
        std::fs::File::open(path)
            .map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))?;
    }
    Ok(place)
}

fn service_of(provider: &Provider) -> &'static Service {
    Service::named(&provider.id).unwrap_or_else(|| Service::at(""))
}

fn service_name(service: &Service) -> &'static str {
    if service.word == "other" {
        "It"
    } else {
        service.name
    }
}

/// What an answer to the menu asks for.
fn picks(text: &str, found: usize, has_some: bool) -> anyhow::Result<Vec<Pick>> {
    let pick = |word: &str| -> anyhow::Result<Pick> {
        if word == "done" {
            anyhow::ensure!(has_some, "a gateway needs at least one provider");
            return Ok(Pick::Done);
        }
        if let Ok(number) = word.parse::<usize>() {
            let last = found + SERVICES.len();
            anyhow::ensure!(
                (1..=last).contains(&number),
                "{number} is not a number from 1 to {last}"
            );
            return Ok(match number.checked_sub(found + 1) {
                None => Pick::Found(number - 1),
                Some(nth) => Pick::Kind(&SERVICES[nth]),
            });
        }
        match word.parse()? {
            Wanted::One(spec) => Ok(Pick::Spec(spec)),
            Wanted::Found => anyhow::bail!("what was found has a number"),
        }
    };
    text.split_whitespace().map(pick).collect()
}

/// Those of the listed models that are wanted.
fn models_of(listed: &[String], wanted: &[String]) -> anyhow::Result<Vec<String>> {
    if !wanted.is_empty() {
        return chosen(wanted, listed);
    }
    if listed.is_empty() {
        let question = "  It lists no models. Which does it have? Names with spaces between";
        return ask(question, None, |text| Ok(words(text)));
    }
    say(&format!(
        "  It has {}: {}",
        plural(listed.len(), "model"),
        shown(listed)
    ))?;
    if listed.len() == 1 {
        return Ok(listed.to_vec());
    }
    let question = "  Which of them? Names and patterns such as gpt-5*, with spaces between";
    ask(question, Some("all"), |text| match text {
        "all" => Ok(listed.to_vec()),
        text => chosen(&words(text), listed),
    })
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// The first of some models.
fn shown(models: &[String]) -> String {
    let first: Vec<String> = models.iter().take(SHOWN).map(|one| harmless(one)).collect();
    let rest = models.len().saturating_sub(SHOWN);
    let rest = if rest > 0 {
        format!(" and {rest} more")
    } else {
        String::new()
    };
    format!("{}{rest}", first.join(", "))
}

fn plural(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_menu_takes_numbers_and_addresses() {
        let kinds = |text: &str| {
            let picks = picks(text, 2, true)?;
            let name = |pick: &Pick| match pick {
                Pick::Found(nth) => format!("found {nth}"),
                Pick::Kind(service) => service.word.to_owned(),
                Pick::Spec(spec) => spec.url.clone().unwrap_or_default(),
                Pick::Done => "done".to_owned(),
            };
            anyhow::Ok(picks.iter().map(name).collect::<Vec<_>>())
        };
        assert_eq!(
            kinds("1 2 3 13 gpu:8080").unwrap(),
            ["found 0", "found 1", "ollama", "other", "http://gpu:8080"]
        );
        assert_eq!(kinds("done").unwrap(), ["done"]);
        for wrong in ["0", "14", "1 x?y", "ftp://x"] {
            assert!(kinds(wrong).is_err(), "{wrong}");
        }
        assert!(picks("done", 0, false).is_err());
    }

    #[test]
    fn long_lists_are_shown_in_part() {
        let many: Vec<String> = (0..20).map(|nth| format!("m{nth}")).collect();
        assert!(shown(&many).ends_with("m11 and 8 more"));
        assert_eq!(shown(&many[..2]), "m0, m1");
        assert_eq!(
            (plural(1, "model"), plural(2, "model")),
            ("1 model".into(), "2 models".into())
        );
    }
}
