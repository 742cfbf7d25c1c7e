//! Wrong tokens at the API: counted, and a warning with the source.

use crate::http::Http;
use crate::metrics::{address, wait_for};
use crate::support::{ADMIN_TOKEN, Server};

const ADMIN: &str = "sip_authz_api_failed_logins_total{user=\"admin\"}";
const ACCOUNT: &str = "sip_authz_api_failed_logins_total{user=\"account\"}";
const WRONG: &str = "never-to-be-printed";

#[test]
fn wrong_tokens_are_counted_and_warned_of_once_a_minute() {
    let server = Server::start(&["--on-accept", "ok", "--metrics", "127.0.0.1:0"]);
    let url = address(&server.stdout);
    let page = wait_for(&url, ADMIN, 0.0);
    assert_eq!(page[ACCOUNT], 0.0);
    let sid = "AC0123456789abcdef0123456789abcdef";
    let paths = ["/2010-04-01/Accounts.json", "/admin/export", "/v1/Trunks"];
    for path in paths {
        for user in ["admin", sid, "nobody"] {
            assert_eq!(Http::new(&server, user, WRONG).get(path).0, 401, "{path} as {user}");
        }
    }
    assert_eq!(Http::new(&server, "admin", ADMIN_TOKEN).get(paths[0]).0, 200);
    let page = wait_for(&url, ADMIN, 3.0);
    assert_eq!(page[ACCOUNT], 6.0);
    for user in ["the user `admin`".to_owned(), format!("the account {sid}")] {
        let start = format!("sip-authz: warning: failed login of {user} from 127.0.0.1:");
        server.stderr.wait_for(&start);
    }
    let all = server.stderr.all();
    let warnings = all.iter().filter(|line| line.contains("failed login")).count();
    assert_eq!(warnings, 2, "{all:#?}");
    for secret in [WRONG, ADMIN_TOKEN, "nobody"] {
        assert!(!all.iter().any(|line| line.contains(secret)), "{secret} in {all:#?}");
    }
}
