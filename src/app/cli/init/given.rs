//! The providers that the command line names, tried as far as they can be reached from here. Nobody is
//! asked anything: what is missing is an error that says how to give it.

use std::io::Write;

use super::key::Key;
use super::provider::{self, Missing, Offer, Provider};
use super::reach::Reach;
use super::spec::{Spec, Wanted};
use crate::app::cli::harmless;

/// The wanted providers, each with an id of its own and with models. A provider that refuses its key is
/// an error, and so is one of which no model is known.
pub(super) fn providers(
    reach: &Reach,
    wanted: &[Wanted],
    with_test: bool,
) -> anyhow::Result<Vec<Provider>> {
    let mut providers: Vec<Provider> = Vec::new();
    for one in wanted {
        let new = match one {
            Wanted::Found => {
                let found = reach.found();
                anyhow::ensure!(
                    !found.is_empty(),
                    "no model server was found on this machine; pass its address"
                );
                found.iter().map(Provider::found).collect()
            }
            Wanted::One(spec) => {
                let mut provider = spec.provider()?;
                let asked = if with_test {
                    reach.ask(spec.service, &provider)
                } else {
                    Err(Missing::Failed(
                        "it was not asked, because of --no-test".to_owned(),
                    ))
                };
                fill(&mut provider, spec, asked)?;
                vec![provider]
            }
        };
        for provider in new {
            // A provider that is given twice is added once.
            let _ = provider::adopt(&mut providers, provider);
        }
    }
    Ok(providers)
}

/// Fills in what a provider that was asked offers, and what was named.
fn fill(provider: &mut Provider, spec: &Spec, asked: Result<Offer, Missing>) -> anyhow::Result<()> {
    let service = spec.service;
    let url = provider.baseurl.clone();
    let (at, name) = if service.word == "other" {
        (url.clone(), url.as_str())
    } else {
        (format!("{} at {url}", service.word), service.word)
    };
    let Err(missing) = spec.complete(provider, asked) else {
        return Ok(());
    };
    match (missing, spec.names()) {
        (Missing::Pattern(error), _) => return Err(error),
        (Missing::Models, _) => {
            anyhow::bail!("{at} lists no models; name them: --provider {name},MODEL")
        }
        (Missing::Refused(why), _) if provider.key.is_some() => anyhow::bail!(
            "{at} refuses the key: {why}. Set another one, or leave out the test with --no-test"
        ),
        (Missing::Refused(_), Some(names)) => {
            provider.models = names.to_vec();
            let variable = provider.usual_variable();
            note(&format!("{at} wants a key; it is taken from {variable}"))?;
            provider.set_key(service, Some(Key::variable(&variable)));
        }
        (Missing::Failed(why), Some(names)) => {
            provider.models = names.to_vec();
            note(&format!("{at} was not tested: {why}"))?;
        }
        (Missing::Refused(why), None) => anyhow::bail!(
            "{at} wants a key: {why}. Say where it is: --provider {name},key=env:NAME"
        ),
        (Missing::Failed(why), None) => anyhow::bail!(
            "{at} does not list its models: {why}. Name them: --provider {name},MODEL"
        ),
    }
    Ok(())
}

fn note(text: &str) -> anyhow::Result<()> {
    writeln!(std::io::stderr(), "note: {}", harmless(text))?;
    Ok(())
}
