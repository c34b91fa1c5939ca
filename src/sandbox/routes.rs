//! Which endpoint a request means.

/// An endpoint with the identifiers of its path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route {
    Token,
    Register,
    RegisterFamily,
    RegisterShadow,
    Lookup,
    CheckEmail,
    CheckDisplayName,
    UserInfo,
    ResendConsent,
    /// The same by a GET: a mail each time.
    ResendByGet,
    /// A parent grants (or with `false` the partner revokes) features of the child with this service id.
    SetConsent(String, bool),
    /// The service id stands in the path, or else in the query.
    DeleteAccount(Option<String>),
    /// The attempts of a verification, by the id of the request for it.
    Verification(String),
    /// An endpoint of the consent service, below the partner's service identifier.
    Service(String, ServiceRoute),
}

/// The endpoints below `/s2s/api/v1.0/{service}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ServiceRoute {
    RequestConsent,
    AccountByEid(String),
    AccountBySid(String),
    Consent(String),
    SetAssurance {
        sid: String,
        attribute: String,
    },
    RevokeFeatures {
        sid: String,
        granter_sid: String,
    },
    DeleteByEid(String),
    /// A link to the verification of a consent.
    OpenSession(String),
}

impl Route {
    /// The endpoint and its template, by which the truth counts requests.
    pub fn find(method: &str, segments: &[String]) -> Option<(Route, &'static str)> {
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        if let ["s2s", "api", "v1.0", service, rest @ ..] = segments.as_slice() {
            let (route, template) = service_route(method, rest)?;
            return Some((Route::Service((*service).to_owned(), route), template));
        }
        gateway_route(method, &segments)
    }

    /// Whether the endpoint changes nothing.
    pub fn is_read(&self) -> bool {
        match self {
            Route::Lookup | Route::CheckEmail | Route::CheckDisplayName | Route::UserInfo | Route::Verification(_) => {
                true
            }
            Route::Service(_, route) => matches!(
                route,
                ServiceRoute::AccountByEid(_) | ServiceRoute::AccountBySid(_) | ServiceRoute::Consent(_)
            ),
            Route::Token
            | Route::Register
            | Route::RegisterFamily
            | Route::RegisterShadow
            | Route::ResendConsent
            | Route::ResendByGet
            | Route::SetConsent(..)
            | Route::DeleteAccount(_) => false,
        }
    }
}

fn gateway_route(method: &str, segments: &[&str]) -> Option<(Route, &'static str)> {
    Some(match (method, segments) {
        ("POST", ["oauth", "token"]) => (Route::Token, "POST /oauth/token"),
        ("POST", ["token"]) => (Route::Token, "POST /token"),
        ("POST", ["api", "v1.0", "account"]) => (Route::Register, "POST /api/v1.0/account"),
        ("POST", ["api", "account"]) => (Route::Register, "POST /api/account"),
        ("POST", ["api", "v1.0", "account", "parent"]) => (Route::RegisterFamily, "POST /api/v1.0/account/parent"),
        ("POST", ["api", "account", "parent"]) => (Route::RegisterFamily, "POST /api/account/parent"),
        ("POST", ["api", "v1.0", "account", "shadow"]) => (Route::RegisterShadow, "POST /api/v1.0/account/shadow"),
        ("POST", ["api", "account", "shadow"]) => (Route::RegisterShadow, "POST /api/account/shadow"),
        ("GET", ["api", "v1.0", "account", "lookup"]) => (Route::Lookup, "GET /api/v1.0/account/lookup"),
        ("POST", ["api", "v1.0", "account", "check", "email"]) => {
            (Route::CheckEmail, "POST /api/v1.0/account/check/email")
        }
        ("POST", ["api", "v1.0", "account", "check", "display-name"]) => {
            (Route::CheckDisplayName, "POST /api/v1.0/account/check/display-name")
        }
        ("GET", ["userinfo"]) => (Route::UserInfo, "GET /userinfo"),
        ("POST", ["api", "v1.0", "consent", "resend"]) => (Route::ResendConsent, "POST /api/v1.0/consent/resend"),
        ("GET", ["api", "consent", "resend"]) => (Route::ResendByGet, "GET /api/consent/resend"),
        ("PUT", ["api", "consent", child]) => {
            (Route::SetConsent((*child).to_owned(), true), "PUT /api/consent/{child_service_id}")
        }
        ("DELETE", ["api", "consent", child]) => {
            (Route::SetConsent((*child).to_owned(), false), "DELETE /api/consent/{child_service_id}")
        }
        ("GET", ["api", "verification", id]) => {
            (Route::Verification((*id).to_owned()), "GET /api/verification/{requestID}")
        }
        ("DELETE", ["api", "v1.0", "account"]) => (Route::DeleteAccount(None), "DELETE /api/v1.0/account"),
        ("DELETE", ["api", "v1.0", "account", service_id]) => {
            (Route::DeleteAccount(Some((*service_id).to_owned())), "DELETE /api/v1.0/account/{service_id}")
        }
        _ => return None,
    })
}

fn service_route(method: &str, rest: &[&str]) -> Option<(ServiceRoute, &'static str)> {
    let owned = |text: &&str| (*text).to_owned();
    Some(match (method, rest) {
        ("POST", ["requests"]) => (ServiceRoute::RequestConsent, "POST /s2s/api/v1.0/{service}/requests"),
        ("GET", ["accounts", "eid", eid]) => {
            (ServiceRoute::AccountByEid(owned(eid)), "GET /s2s/api/v1.0/{service}/accounts/eid/{eid}")
        }
        ("GET", ["accounts", "sid", sid]) => {
            (ServiceRoute::AccountBySid(owned(sid)), "GET /s2s/api/v1.0/{service}/accounts/sid/{sid}")
        }
        ("GET", ["consents", identifier]) => {
            (ServiceRoute::Consent(owned(identifier)), "GET /s2s/api/v1.0/{service}/consents/{consent_identifier}")
        }
        ("POST", ["consents", identifier, "verification", "session"]) => (
            ServiceRoute::OpenSession(owned(identifier)),
            "POST /s2s/api/v1.0/{service}/consents/{consent_identifier}/verification/session",
        ),
        ("PATCH", ["accounts", "sid", sid, "attributes", attribute, "ial"]) => (
            ServiceRoute::SetAssurance { sid: owned(sid), attribute: owned(attribute) },
            "PATCH /s2s/api/v1.0/{service}/accounts/sid/{sid}/attributes/{attribute}/ial",
        ),
        ("POST", ["accounts", "sid", sid, granter_sid, "features", "revoke"]) => (
            ServiceRoute::RevokeFeatures { sid: owned(sid), granter_sid: owned(granter_sid) },
            "POST /s2s/api/v1.0/{service}/accounts/sid/{sid}/{granter_sid}/features/revoke",
        ),
        ("DELETE", ["accounts", "eid", eid]) => {
            (ServiceRoute::DeleteByEid(owned(eid)), "DELETE /s2s/api/v1.0/{service}/accounts/eid/{eid}")
        }
        _ => return None,
    })
}
