//! Choosing providers one after the other: servers found on this machine first, then each other kind
//! with only the questions that it needs.

use std::path::PathBuf;

use super::ask_key::Keys;
use super::key::{Credential, Key};
use super::provider::{self, Missing, Provider};
use super::reach::Reach;
use super::service::{Place, SERVICES, Service};
use super::spec::{Spec, Wanted, address, chosen, formats};
use super::terminal::{ask, choose, say};
use crate::app::cli::harmless;
use crate::client::discovery::Server;
use crate::client::terminal::first;
use crate::wire::text::counted;

/// Models that are shown by name.
const SHOWN: usize = 12;

/// What the questions need.
pub(super) struct Menu<'a> {
    reach: &'a Reach,
    keys: Keys,
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
            keys: Keys::new(keys),
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
            let has_some = !providers.is_empty();
            let (question, usual) = if has_some {
                ("Another? Numbers or addresses, with spaces between", "done")
            } else {
                (
                    "Which? Numbers or addresses, such as http://gpu:8080, with spaces between",
                    all.as_str(),
                )
            };
            let usual = Some(usual).filter(|usual| !usual.is_empty());
            let picks = ask(question, usual, |text| picks(text, found.len(), has_some))?;
            for pick in picks {
                let new = match pick {
                    Pick::Done => return Ok(providers),
                    Pick::Found(nth) => Some(Provider::found(&found[nth])),
                    Pick::Kind(service) => self.of_kind(service, &found)?,
                    Pick::Spec(spec) => self.of_spec(&spec, &found)?,
                };
                let Some(new) = new else { continue };
                let baseurl = new.baseurl.clone();
                say(&match provider::adopt(&mut providers, new) {
                    Some(new) => {
                        let models = counted(new.models.len(), "model");
                        format!("  Added {} with {models}.", new.id)
                    }
                    None => format!("  {baseurl} is there already."),
                })?;
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
        self.tested(&Spec::of(service), provider, found)
    }

    /// A provider that was typed as on the command line; its key is asked for where the usual
    /// variable isn't set.
    fn of_spec(&self, spec: &Spec, found: &[Server]) -> anyhow::Result<Option<Provider>> {
        let service = spec.service;
        let mut provider = spec.provider()?;
        let lacks = |key: &Key| !key.missing(&self.reach.config).is_empty();
        if spec.key.is_none() && provider.key.as_ref().is_some_and(lacks) {
            let key = self.keys.ask(service, &provider)?;
            provider.set_key(service, key);
        }
        self.tested(spec, provider, found)
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
            let key = self.keys.ask(service, &provider)?;
            provider.set_key(service, key);
        }
        Ok(provider)
    }

    /// Asks a provider for what it has, and the person for what to do where that fails.
    fn tested(
        &self,
        spec: &Spec,
        mut provider: Provider,
        found: &[Server],
    ) -> anyhow::Result<Option<Provider>> {
        let service = spec.service;
        let name = if service.word == "other" {
            "It"
        } else {
            service.name
        };
        loop {
            say(&format!("  Asking {} …", provider.baseurl))?;
            let asked = self.reach.ask(service, &provider);
            let formats = asked.as_ref().ok().and_then(|offer| offer.formats);
            if let (Some(formats), None) = (formats, spec.formats) {
                say(&format!("  It speaks {}.", formats.names().join(", ")))?;
            }
            let is_refused = match spec.complete(&mut provider, asked) {
                Err(Missing::Refused(why)) => {
                    say(&format!("  {name} refuses: {why}"))?;
                    true
                }
                Err(Missing::Failed(why)) => {
                    say(&format!("  {name} cannot be asked: {}", harmless(&why)))?;
                    false
                }
                taken => {
                    match taken {
                        Ok(()) if !spec.models.is_empty() => {}
                        Err(Missing::Models) => {
                            let question = "  It lists no models. Which does it have? Names with \
                                            spaces between";
                            provider.models = ask(question, None, |text| Ok(words(text)))?;
                        }
                        taken => {
                            if let Err(Missing::Pattern(error)) = taken {
                                say(&format!("  {}", harmless(&error.to_string())))?;
                            }
                            provider.models = choice(&provider.models)?;
                        }
                    }
                    // A server that was found keeps the name that it was shown with.
                    let is_it = |server: &&Server| server.baseurl() == provider.baseurl;
                    provider.name = found.iter().find(is_it).map(Server::name);
                    return Ok(Some(provider));
                }
            };
            let (other, is_key) = match service.place {
                Place::Public(_) => ("Give another key", true),
                Place::Aws | Place::Google => ("Give another region or key", false),
                Place::Own(_) | Place::Anywhere if is_refused => ("Give a key", true),
                Place::Own(_) | Place::Anywhere => ("Give another address", false),
            };
            let choices = ["Try again", other, "Go on without the test", "Leave it out"];
            match choose("  What now?", &choices)? {
                0 => {}
                1 if is_key => {
                    let key = self.keys.ask(service, &provider)?;
                    provider.set_key(service, key);
                }
                1 => provider = self.placed(service)?,
                2 => {
                    ask_for_offer(&mut provider, spec)?;
                    return Ok(Some(provider));
                }
                _ => return Ok(None),
            }
        }
    }
}

/// Asks the person what a provider has and speaks.
fn ask_for_offer(provider: &mut Provider, spec: &Spec) -> anyhow::Result<()> {
    provider.models = if let Some(names) = spec.names() {
        names.to_vec()
    } else {
        let question = "  Which models does it have? Names with spaces between";
        ask(question, None, |text| Ok(words(text)))?
    };
    let is_known = !spec.service.flags.is_empty() || spec.formats.is_some();
    if !is_known {
        let question = "  Which formats does it speak? Of chat, responses (for Codex) and messages \
                        (for Claude Code)";
        provider.speaks(ask(question, Some("chat"), formats)?);
    }
    Ok(())
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

/// Which of the listed models a person takes.
fn choice(listed: &[String]) -> anyhow::Result<Vec<String>> {
    let count = counted(listed.len(), "model");
    say(&format!("  It has {count}: {}", shown(listed)))?;
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

fn shown(models: &[String]) -> String {
    let models: Vec<String> = models.iter().map(|one| harmless(one)).collect();
    first(SHOWN, &models)
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
    }
}
