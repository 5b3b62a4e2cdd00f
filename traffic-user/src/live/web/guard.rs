//! Who may ask.

use std::{net::IpAddr, sync::Arc};

use axum::{
    extract::{Request, State},
    http::{
        HeaderMap, HeaderName, HeaderValue, StatusCode, Uri,
        header::{
            AUTHORIZATION, CACHE_CONTROL, COOKIE, HOST, LOCATION, REFERRER_POLICY, SET_COOKIE,
            WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
        },
    },
    middleware::Next,
    response::{IntoResponse, Response},
};

/// Name of the cookie, and of the parameter that sets it.
const TOKEN: &str = "token";
const COOKIE_NAME: &str = "traffic_token";

/// Who may ask.
#[derive(Debug)]
pub struct Access {
    /// What clients must show; made of letters, digits and `-._~`. `None` lets everyone in who
    /// reaches the address.
    pub token: Option<String>,
    /// Name of this host, by which browsers may call it.
    pub host: String,
}

/// Lets a request pass, or answers it.
pub(super) async fn guard(
    State(access): State<Arc<Access>>,
    request: Request,
    next: Next,
) -> Response {
    let mut response = match access.judge(request.uri(), request.headers()) {
        Judgement::Pass => next.run(request).await,
        Judgement::StrangeHost => {
            let why = "this name is not known here: use the address, or localhost\n";
            (StatusCode::FORBIDDEN, why).into_response()
        }
        Judgement::NoToken => {
            let challenge = [(WWW_AUTHENTICATE, "Bearer")];
            (StatusCode::UNAUTHORIZED, challenge, "a token is needed\n").into_response()
        }
        Judgement::SetCookie(token) => set_cookie(&token),
    };
    protect(response.headers_mut());
    response
}

/// What a request deserves.
#[derive(Debug, PartialEq, Eq)]
enum Judgement {
    Pass,
    StrangeHost,
    NoToken,
    /// The token stood in the address: from there it goes into a cookie, out of sight.
    SetCookie(String),
}

impl Access {
    fn judge(&self, uri: &Uri, headers: &HeaderMap) -> Judgement {
        let host = headers.get(HOST).and_then(|host| host.to_str().ok());
        if !host.is_some_and(|host| self.knows(host)) {
            return Judgement::StrangeHost;
        }
        let Some(token) = &self.token else {
            return Judgement::Pass;
        };
        if shown(headers).any(|shown| is_same(shown, token)) {
            return Judgement::Pass;
        }
        match parameter(uri) {
            Some(shown) if is_same(shown, token) => Judgement::SetCookie(token.clone()),
            _ => Judgement::NoToken,
        }
    }

    /// Whether a name in a `Host` header is one of ours. A page elsewhere whose own name resolves
    /// to our address (DNS rebinding) has another; an address cannot be made to resolve.
    fn knows(&self, host: &str) -> bool {
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
            _ => host,
        };
        let address = name.trim_start_matches('[').trim_end_matches(']');
        name.eq_ignore_ascii_case("localhost")
            || name.eq_ignore_ascii_case(&self.host)
            || address.parse::<IpAddr>().is_ok()
    }
}

/// Tokens in the headers.
fn shown(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let bearer = headers.get(AUTHORIZATION).and_then(|value| {
        let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
        scheme
            .eq_ignore_ascii_case("bearer")
            .then_some(token.trim())
    });
    let cookies = headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|cookies| cookies.to_str().ok())
        .flat_map(|cookies| cookies.split(';'))
        .filter_map(|cookie| cookie.trim().split_once('='))
        .filter(|(name, _)| *name == COOKIE_NAME)
        .map(|(_, token)| token);
    bearer.into_iter().chain(cookies)
}

/// The token in the address. Tokens have no character that would be encoded there.
fn parameter(uri: &Uri) -> Option<&str> {
    let mut pairs = uri
        .query()?
        .split('&')
        .filter_map(|pair| pair.split_once('='));
    pairs
        .find(|(name, _)| *name == TOKEN)
        .map(|(_, token)| token)
}

/// Compares in a time that tells nothing about where texts differ.
fn is_same(shown: &str, token: &str) -> bool {
    let pairs = shown.bytes().zip(token.bytes());
    let difference = pairs.fold(0, |difference, (a, b)| difference | (a ^ b));
    shown.len() == token.len() && std::hint::black_box(difference) == 0
}

fn set_cookie(token: &str) -> Response {
    let cookie = format!("{COOKIE_NAME}={token}; HttpOnly; SameSite=Strict; Path=/");
    let headers = [(LOCATION, "/".to_owned()), (SET_COOKIE, cookie)];
    (StatusCode::SEE_OTHER, headers).into_response()
}

/// Keeps answers out of caches, frames and other sites.
fn protect(headers: &mut HeaderMap) {
    let same_origin = HeaderName::from_static("cross-origin-resource-policy");
    for (name, value) in [
        (CACHE_CONTROL, "no-store"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "no-referrer"),
        (same_origin, "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_not_ours_are_refused() {
        let access = access(None);
        for host in [
            "localhost:8080",
            "127.0.0.1:8080",
            "[::1]:8080",
            "[::1]",
            "192.0.2.7",
            "monitor.example:9",
            "LOCALHOST",
        ] {
            assert_eq!(
                judge(&access, "/", &[("host", host)]),
                Judgement::Pass,
                "{host}"
            );
        }
        for host in [
            "evil.example",
            "127.0.0.1.evil.example:8080",
            "",
            "localhost.evil.example",
        ] {
            let judgement = judge(&access, "/", &[("host", host)]);
            assert_eq!(judgement, Judgement::StrangeHost, "{host}");
        }
        assert_eq!(judge(&access, "/", &[]), Judgement::StrangeHost);
    }

    #[test]
    fn without_the_token_there_is_no_answer() {
        let access = access(Some("secret"));
        let ask = |uri: &str, name: &'static str, value: &str| {
            judge(&access, uri, &[("host", "localhost"), (name, value)])
        };
        assert_eq!(ask("/", "authorization", "Bearer secret"), Judgement::Pass);
        assert_eq!(
            ask("/", "cookie", "a=b; traffic_token=secret"),
            Judgement::Pass
        );
        for (name, value) in [
            ("accept", "*/*"),
            ("authorization", "Bearer secre"),
            ("authorization", "Bearer secrets"),
            ("authorization", "Basic secret"),
            ("authorization", "secret"),
            ("cookie", "traffic_token=; token=secret"),
        ] {
            assert_eq!(
                ask("/metrics", name, value),
                Judgement::NoToken,
                "{name}: {value}"
            );
        }
    }

    #[test]
    fn a_token_in_the_address_goes_into_a_cookie() {
        let access = access(Some("secret"));
        let host = [("host", "localhost")];
        let expected = Judgement::SetCookie("secret".to_owned());
        assert_eq!(judge(&access, "/?a=b&token=secret", &host), expected);
        assert_eq!(judge(&access, "/?token=wrong", &host), Judgement::NoToken);
        let strange = judge(&access, "/?token=secret", &[("host", "evil.example")]);
        assert_eq!(strange, Judgement::StrangeHost);
    }

    fn access(token: Option<&str>) -> Access {
        Access {
            token: token.map(str::to_owned),
            host: "monitor.example".to_owned(),
        }
    }

    fn judge(access: &Access, uri: &str, headers: &[(&'static str, &str)]) -> Judgement {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, HeaderValue::from_str(value).unwrap());
        }
        access.judge(&uri.parse().unwrap(), &map)
    }
}
