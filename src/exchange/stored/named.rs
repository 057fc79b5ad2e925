//! A request for a response by its id: only its owner finds it, and only while they may use its model.

use std::sync::Arc;

use http::StatusCode;

use super::detail::Detail;
use crate::exchange::context::Candidate;
use crate::exchange::person::Identified;
use crate::exchange::{Asked, Gateway, lists};
use crate::formats::{Format, NO_CONVERSATION, NO_ITEM, NO_PREVIOUS_RESPONSE, NamedResponse};
use crate::policy::route::{Provider, Route};
use crate::records;
use crate::records::objects::State;
use crate::wire::Rejection;

/// Where a request for a response goes.
pub(in crate::exchange) struct Named {
    pub(in crate::exchange) route: Route,
    /// The number of the provider's key that has it.
    pub(in crate::exchange) key: usize,
}

impl Gateway {
    /// Finds a response of the caller's.
    pub(in crate::exchange) async fn named(
        &self,
        identified: &Identified,
        format: &Format,
        named: NamedResponse<'_>,
    ) -> Result<Named, Rejection> {
        let (asker, id) = (&identified.asker, named.id);
        let owner = asker.owner();
        let found = self.stored.find(&self.ledger, owner.key(), id).await;
        let object = found.map_err(|error| unknown(&error))?;
        let object = object.ok_or_else(|| {
            let why = format!("Response with id '{id}' not found.");
            Rejection::new(StatusCode::NOT_FOUND, "response_not_found", why)
        })?;
        let detail = Detail::of(&object).unwrap_or_else(|| Detail::new(0, &object.model));
        let mut providers = identified.rules.routes.providers().iter();
        let is_it = |one: &&Arc<Provider>| {
            one.id == object.provider.as_str() && !one.disabled && one.speaks(format)
        };
        let Some(provider) = providers.find(is_it) else {
            let why = format!(
                "response '{id}' is kept by provider {:?}, which is no longer configured for responses",
                object.provider
            );
            return Err(Rejection::new(
                StatusCode::NOT_FOUND,
                "response_not_found",
                why,
            ));
        };
        let reason = asker.permit.why(provider.subject(&detail.model));
        let route = Route {
            provider: Arc::clone(provider),
            model: detail.model,
            reasons: reason.into_iter().collect(),
            spares: false,
        };
        if !asker.permit.covers(route.subject()) {
            // As for the model itself.
            let why = format!(
                "no route found for model \"{}\" for user \"{}\"",
                object.model,
                owner.name()
            );
            return Err(Rejection::new(
                StatusCode::NOT_FOUND,
                "model_not_found",
                why,
            ));
        }
        if named.deletes && object.state == State::Open {
            let why = format!(
                "response '{id}' is still being made: cancel it, and delete it once it has ended"
            );
            return Err(Rejection::new(
                StatusCode::CONFLICT,
                "response_is_running",
                why,
            ));
        }
        Ok(Named {
            route,
            key: detail.key,
        })
    }

    /// Refuses a request that goes on with another caller's response, in the words in which OpenAI refuses one that
    /// it doesn't have. Unknown ids are the provider's to judge.
    ///
    /// # Errors
    /// 400 for another caller's, 503 if that can't be looked up.
    pub(in crate::exchange) async fn check_previous(&self, asked: &Asked) -> Result<(), Rejection> {
        let Some(id) = &asked.call.previous_response else {
            return Ok(());
        };
        let owner = asked.asker.owner().key();
        if self.responses.session(owner, id).is_some() {
            return Ok(());
        }
        let is_anothers = self.stored.is_anothers(&self.ledger, owner, id).await;
        if !is_anothers.map_err(|error| unknown(&error))? {
            return Ok(());
        }
        let why = format!("Previous response with id '{id}' not found.");
        Err(Rejection::new(
            StatusCode::BAD_REQUEST,
            NO_PREVIOUS_RESPONSE,
            why,
        ))
    }

    /// Refuses a request that names what its caller isn't known to have at the provider, in the words in which OpenAI
    /// refuses what it doesn't have. With the caller's own credential the provider itself tells callers apart.
    ///
    /// # Errors
    /// 404 for an item that isn't known as the caller's, 400 for a conversation, 503 if items can't be looked up.
    pub(in crate::exchange) async fn check_kept_elsewhere<'c>(
        &self,
        asked: &Asked,
        choices: impl IntoIterator<Item = &'c Candidate>,
    ) -> Result<(), Rejection> {
        let named = &asked.call.kept_elsewhere;
        let is_shared = |one: &Candidate| {
            let provider = &one.route.provider;
            // Translations refuse it.
            provider.speaks(asked.format)
                && !lists::gets_own_credential(asked, provider, &one.terms)
        };
        if named.is_empty() {
            return Ok(());
        }
        let shared = choices.into_iter().filter(|one| is_shared(one));
        let shared: Vec<&str> = shared.map(|one| one.route.provider.id.as_str()).collect();
        if shared.is_empty() {
            return Ok(());
        }
        if let Some(id) = &named.conversation {
            let why = format!(
                "Conversation with id '{id}' not found: conversations of callers can't be told apart at the provider. Send `previous_response_id` instead."
            );
            return Err(Rejection::new(
                StatusCode::BAD_REQUEST,
                NO_CONVERSATION,
                why,
            ));
        }
        let owner = asked.asker.owner().key();
        let foreign = self
            .stored
            .first_foreign(&self.ledger, owner, &named.items, &shared)
            .await;
        let Some(item) = foreign.map_err(|error| unknown(&error))? else {
            return Ok(());
        };
        let why = format!(
            "Item with id '{}' not found: none of your stored responses has it. Send the item itself instead.",
            item.id
        );
        Err(Rejection::new(StatusCode::NOT_FOUND, NO_ITEM, why))
    }

    /// Forgets a response that its provider has deleted.
    pub(in crate::exchange) async fn forget_response(&self, owner: &str, id: &str) {
        self.stored.forget(&self.ledger, owner, id).await;
    }
}

/// The refusal while the database doesn't say whose a response is.
fn unknown(error: &records::Error) -> Rejection {
    tracing::error!(%error, "responses can't be looked up");
    let why = "responses can't be looked up right now";
    Rejection::new(StatusCode::SERVICE_UNAVAILABLE, "ledger_unavailable", why)
}
