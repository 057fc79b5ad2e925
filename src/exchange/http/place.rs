//! Requests for what stands at one provider: no model answers them, and their way is that of all requests
//! without the choice of a provider.

use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use futures_util::FutureExt;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};

use crate::base::reasons::Reason;
use crate::base::text::Text;
use crate::exchange::admit::Admitted;
use crate::exchange::context::{Place, Surface, head_of};
use crate::exchange::ending::Stage;
use crate::exchange::entry::Ticket;
use crate::exchange::person::Identified;
use crate::exchange::refusal::Refused;
use crate::exchange::relay::Begun;
use crate::exchange::stored::Named;
use crate::exchange::{Gateway, Routed, Verified, route};
use crate::formats::{Format, direct};
use crate::policy::access::Subject;
use crate::policy::route::Route;
use crate::wire::{Body, Rejection};

/// A browser that shows such a response must not take it for a page of the gateway, whose origin it has.
const APART: [(HeaderName, HeaderValue); 4] = [
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; sandbox"),
    ),
    (
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    ),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("same-origin"),
    ),
];

/// Where a request goes.
struct Destination {
    place: Place,
    route: Route,
}

/// Why a request goes nowhere, for its caller and for the record.
struct Nowhere {
    rejection: Rejection,
    reason: Option<Reason>,
}

impl Nowhere {
    fn of(rejection: Rejection) -> Self {
        Self {
            rejection,
            reason: None,
        }
    }
}

impl Gateway {
    /// Handles a request for what stands at one provider.
    pub(super) async fn serve_place<B>(
        &self,
        ticket: Ticket,
        format: &'static Format,
        who: Verified,
        request: Request<B>,
        is_admitted: &AtomicBool,
    ) -> Result<Response<Body>, Rejection>
    where
        B: http_body::Body<Data = Bytes> + Unpin,
        B::Error: Display,
    {
        let (head, incoming) = request.into_parts();
        let identified = self.identify(&who, &head.headers).await?;
        let named = (format.named_response)(&head.method, head.uri.path());
        let found = match named {
            // Boxed, because it asks the database.
            Some(named) => {
                let found = self.named(&identified, format, named).boxed().await;
                found.map_err(Nowhere::of).map(|Named { route, key }| {
                    let place = Place { key, direct: None };
                    Destination { place, route }
                })
            }
            None if head.method == Method::TRACE || head.method == Method::CONNECT => {
                let why = "direct access doesn't take this method";
                let status = StatusCode::METHOD_NOT_ALLOWED;
                Err(Nowhere::of(Rejection::new(
                    status,
                    "method_not_allowed",
                    why,
                )))
            }
            None => direct_destination(&identified, head.uri.path()),
        };
        let deleted = named.filter(|named| named.deletes).map(|named| {
            let owner = identified.asker.owner().key().to_owned();
            (owner, named.id.to_owned())
        });
        let place = match &found {
            Ok(destination) => destination.place,
            Err(_) => Place {
                key: 0,
                direct: None,
            },
        };
        let surface = Surface::Place(place);
        let admitted = self
            .admit(ticket, who, identified, &head, surface, format)
            .await?;
        is_admitted.store(true, Ordering::Relaxed);
        let routed = match found {
            Ok(destination) => routed(admitted, head, incoming, destination.route).await,
            Err(Nowhere { rejection, reason }) => {
                let (mut draft, _) = admitted.into_parts();
                draft.entry.reasons.extend(reason);
                Err(Refused::new(draft, Stage::Route, rejection))
            }
        };
        let answered = match routed {
            // Boxed, as that of a request for a model is.
            Ok(routed) => self.respond(routed).boxed().await,
            Err(refused) => Err(refused),
        };
        let mut response = answered.map_err(Refused::record)?;
        if let Some((owner, id)) = deleted
            && response.status().is_success()
        {
            self.forget_response(&owner, &id).await;
        }
        for (name, value) in APART {
            response.headers_mut().insert(name, value);
        }
        Ok(response)
    }
}

/// Where a direct request goes, if a grant gives it.
#[expect(
    clippy::result_large_err,
    reason = "it is looked at once, and not passed on"
)]
fn direct_destination(identified: &Identified, path: &str) -> Result<Destination, Nowhere> {
    let nowhere = |status, code, why: String| Nowhere::of(Rejection::new(status, code, why));
    let place = direct::place(path).map_err(Nowhere::of)?;
    let subject = Subject::Path {
        provider: place.provider,
        path: place.path,
    };
    // Whether there is such a provider is said only to those who may ask it.
    let Some(grant) = identified.asker.permit.direct(subject) else {
        let path = format!("/{subject}");
        let why =
            format!("access denied: no grant gives direct access to {path}: it takes direct_paths");
        return Err(Nowhere {
            reason: Some(Reason::NotDirect { path: path.into() }),
            ..nowhere(StatusCode::FORBIDDEN, "direct_denied", why)
        });
    };
    let mut providers = identified.rules.routes.providers().iter();
    let provider = providers.find(|one| one.id == place.provider && !one.disabled);
    let Some(provider) = provider else {
        let why = format!("there is no provider {:?}", place.provider);
        return Err(nowhere(StatusCode::NOT_FOUND, "provider_not_found", why));
    };
    if provider.needs_own_credential() {
        let why = format!(
            "provider {:?} takes only callers' own credentials, which direct access doesn't pass on",
            place.provider
        );
        return Err(nowhere(StatusCode::FORBIDDEN, "direct_denied", why));
    }
    let reason = Reason::Direct {
        pattern: grant.pattern,
        grant: grant.source,
    };
    Ok(Destination {
        place: Place {
            key: 0,
            direct: Some(grant.checks),
        },
        route: Route {
            provider: Arc::clone(provider),
            model: Text::default(),
            reasons: Arc::new([reason]),
            spares: false,
        },
    })
}

/// Reads the request, which goes to `route`.
async fn routed<B>(
    admitted: Admitted,
    mut head: Parts,
    incoming: B,
    route: Route,
) -> Result<Routed, Refused>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: Display,
{
    let admitted = admitted.labelled(&head.headers)?;
    let format = admitted.context().format;
    let body = route::body(admitted.context(), &mut head, incoming).await;
    match body.and_then(|body| format.read(&head_of(&head), body)) {
        Ok(call) => Ok(Gateway::route_to(admitted, Arc::new(head), call, route)),
        Err(rejection) => {
            let (draft, _) = admitted.into_parts();
            Err(Refused::new(draft, Stage::Route, rejection))
        }
    }
}

/// A response that isn't a redirect: where one leads to, no grant was checked for.
pub(super) fn checked(response: Response<Begun>) -> Result<Response<Begun>, Rejection> {
    let status = response.status();
    if !status.is_redirection() {
        return Ok(response);
    }
    let why = format!("the provider answered {status}: redirects are not followed");
    Err(Rejection::new(
        StatusCode::BAD_GATEWAY,
        "provider_redirects",
        why,
    ))
}
