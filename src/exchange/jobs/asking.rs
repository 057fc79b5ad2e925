//! Requests of the gateway's own to a provider that runs a batch.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, Response, StatusCode, Uri};

use super::disk::DiskError;
use super::held::Stop;
use super::relayed::Relayed;
use super::running::Running;
use crate::formats;
use crate::formats::remote_batches::RemoteBatches;
use crate::net::client::{Download, Errand};
use crate::policy::route::Provider;

/// For an answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
/// For results to be fetched.
const FETCHING: Duration = Duration::from_mins(30);
/// Bytes of an answer.
pub(super) const LONGEST: usize = 4 << 20;
/// Bytes of results that are written together.
const PIECE: usize = 1 << 20;

/// What a provider answers.
pub(super) enum Answer {
    Done(Bytes),
    /// It will not: the same request would be refused again.
    Refused(String),
    /// It has no such thing.
    Gone,
    /// It can't be asked now, and has done nothing.
    NotNow(String),
    /// It may have done it all the same.
    Failed(String),
}

impl Running<'_> {
    /// Fetches a file of results. The inner text says that there is no room for all of it, the error that it
    /// can't be had now.
    pub(super) async fn fetch_file(
        &mut self,
        relayed: &mut Relayed,
        path: &str,
    ) -> Result<Result<Option<String>, String>, Stop> {
        let mut download = match self.download(relayed, path).await? {
            Ok(download) => download,
            Err(why) => return Ok(Err(why)),
        };
        let until = tokio::time::Instant::now() + FETCHING;
        let mut text = Vec::new();
        loop {
            let piece = tokio::time::timeout_at(until, download.piece());
            let piece = match self.held.during(piece).await? {
                Ok(Ok(piece)) => piece,
                Ok(Err(why)) => return Ok(Err(why)),
                Err(_) => return Ok(Err("results take too long".to_owned())),
            };
            let is_end = piece.is_none();
            text.extend_from_slice(&piece.unwrap_or_default());
            if is_end {
                text.push(b'\n');
            } else if text.len() < PIECE {
                continue;
            }
            let results = &mut relayed.results;
            let text = std::mem::take(&mut text);
            match self
                .write(results.id.clone(), results.bytes, text.into())
                .await?
            {
                Ok(length) => results.bytes = length,
                Err(lost @ DiskError::Lost) => return Ok(Err(lost.to_string())),
                Err(full) => return Ok(Ok(Some(full.to_string()))),
            }
            if is_end {
                return Ok(Ok(None));
            }
        }
    }

    /// The first line of a file of results; or why it can't be had now.
    pub(super) async fn first_line(
        &mut self,
        relayed: &Relayed,
        path: &str,
    ) -> Result<Result<Vec<u8>, String>, Stop> {
        let mut download = match self.download(relayed, path).await? {
            Ok(download) => download,
            Err(why) => return Ok(Err(why)),
        };
        let longest = self.longest();
        let read = async {
            let mut line = Vec::new();
            while let Some(piece) = download.piece().await? {
                line.extend_from_slice(&piece);
                if let Some(end) = memchr::memchr(b'\n', &line) {
                    line.truncate(end);
                    break;
                }
                if line.len() > longest {
                    return Err("its first result is longer than a response may be".to_owned());
                }
            }
            Ok(line)
        };
        let read = self
            .held
            .during(tokio::time::timeout(PATIENCE, read))
            .await?;
        Ok(read.unwrap_or_else(|_| Err("results take too long".to_owned())))
    }

    /// Begins to fetch a file of results.
    async fn download(
        &mut self,
        relayed: &Relayed,
        path: &str,
    ) -> Result<Result<Download, String>, Stop> {
        let Some((provider, uri)) = self.at_provider(relayed, path) else {
            return Ok(Err("its provider is not configured".to_owned()));
        };
        let client = &self.gateway().upstream.client;
        let errand = self.with_headers(Errand::get(uri, PATIENCE, 0));
        let errand = errand.to(&provider).with_key(relayed.key);
        let begun = self.held.during(client.download(errand, &provider)).await?;
        Ok(match begun {
            Ok((StatusCode::OK, download)) => Ok(download),
            Ok((status, _)) => Err(format!("it answered {status} to {path}")),
            Err(why) => Err(why),
        })
    }

    /// Deletes at the provider what it no longer needs, as far as that can be done now.
    pub(super) async fn delete_leftovers(
        &mut self,
        relayed: &Relayed,
        paths: &[String],
    ) -> Result<(), Stop> {
        for path in paths {
            let Some((provider, uri)) = self.at_provider(relayed, path) else {
                return Ok(());
            };
            let errand = Errand::delete(uri, PATIENCE, LONGEST);
            let answer = self.answer(&provider, relayed.key, errand).await?;
            if let Answer::Failed(why) | Answer::NotNow(why) | Answer::Refused(why) = answer {
                let provider = relayed.provider.as_str();
                tracing::warn!(
                    provider,
                    path,
                    why,
                    "a file of a batch stays at the provider"
                );
            }
        }
        Ok(())
    }

    /// The provider, and the URL of a path there.
    fn at_provider(&self, relayed: &Relayed, path: &str) -> Option<(Arc<Provider>, Uri)> {
        let rules = self.gateway().rules.borrow();
        let mut providers = rules.routes.providers().iter();
        let provider = providers.find(|one| one.id == relayed.provider.as_str())?;
        let (path, query) = match path.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (path, None),
        };
        let uri = provider.url(path, "", query).ok()?;
        Some((Arc::clone(provider), uri))
    }

    pub(super) async fn get(
        &mut self,
        remote: &'static RemoteBatches,
        relayed: &Relayed,
        path: &str,
    ) -> Result<Answer, Stop> {
        let get = |uri| Errand::get(uri, PATIENCE, LONGEST);
        self.ask_provider(remote, relayed, path, get).await
    }

    pub(super) async fn ask_provider<'e>(
        &mut self,
        remote: &'static RemoteBatches,
        relayed: &Relayed,
        path: &str,
        errand: impl FnOnce(Uri) -> Errand<'e>,
    ) -> Result<Answer, Stop> {
        let Some((provider, uri)) = self.at_provider(relayed, path) else {
            return Ok(Answer::NotNow("its provider is not configured".to_owned()));
        };
        if !provider.speaks(remote.format) {
            let why = "the provider's flag for batches is off".to_owned();
            return Ok(Answer::NotNow(why));
        }
        self.answer(&provider, relayed.key, errand(uri)).await
    }

    async fn answer(
        &mut self,
        provider: &Provider,
        key: usize,
        errand: Errand<'_>,
    ) -> Result<Answer, Stop> {
        let errand = self.with_headers(errand).to(provider).with_key(key);
        let client = &self.gateway().upstream.client;
        let response = self.held.during(client.errand(errand)).await?;
        Ok(match response {
            Ok(response) => answer(response),
            Err(why) => Answer::Failed(why),
        })
    }

    /// With the headers that the provider's API needs, as the request for the batch had them.
    fn with_headers<'e>(&self, errand: Errand<'e>) -> Errand<'e> {
        let detail = &self.held.detail;
        let remote = detail.family.remote();
        let names = remote.map_or(&[][..], |remote| remote.headers);
        names.iter().fold(errand, |errand, (name, values)| {
            let stated = detail.headers.iter().find(|(one, _)| one == name);
            let is_stated = |value: &&&str| stated.is_some_and(|(_, stated)| stated == **value);
            let value = values.iter().find(is_stated).or(values.first());
            let name = HeaderName::from_static(name);
            errand.says(name, value.copied().unwrap_or_default())
        })
    }
}

fn answer(response: Response<Bytes>) -> Answer {
    let status = response.status();
    let why = || {
        let words = formats::error_words(response.body()).unwrap_or_default();
        format!("the provider answered {status}: {words}")
    };
    match status.as_u16() {
        200..=299 => Answer::Done(response.into_body()),
        404 | 405 | 410 => Answer::Gone,
        425 | 429 => Answer::NotNow(why()),
        408 | 409 => Answer::Failed(why()),
        400..=499 => Answer::Refused(why()),
        _ => Answer::Failed(why()),
    }
}
