//! Spoken to by somebody else's Varlink: the crate `varlink`.

use std::sync::{Arc, RwLock};

use serde_json::{Value, json};
use varlink::{Connection, MethodCall, OrgVarlinkServiceClient, OrgVarlinkServiceInterface};

use super::daemon::Daemon;

fn connect(daemon: &Daemon) -> Arc<RwLock<Connection>> {
    Connection::with_address(&format!("unix:{}", daemon.socket().display())).unwrap()
}

type AnyCall = MethodCall<Value, Value, varlink::Error>;

fn call(daemon: &Daemon, method: &str, parameters: Value) -> Result<Value, varlink::Error> {
    let method = format!("io.snapsafe.Manager.{method}");
    AnyCall::new(connect(daemon), method, parameters).call()
}

#[test]
fn another_implementation_learns_what_the_service_is() {
    let daemon = Daemon::start();
    let mut service = OrgVarlinkServiceClient::new(connect(&daemon));
    let info = service.get_info().unwrap();
    assert_eq!(info.product, "snapsafed");
    let interfaces: Vec<&str> = info.interfaces.iter().map(AsRef::as_ref).collect();
    assert_eq!(interfaces, ["org.varlink.service", "io.snapsafe.Manager"]);
    let reply = service.get_interface_description("io.snapsafe.Manager").unwrap();
    let description = reply.description.unwrap();
    assert!(description.contains("method Quiesce(") && description.contains("error Busy("));
}

#[test]
fn another_implementation_takes_the_machine_through_a_snapshot() {
    let daemon = Daemon::start();
    assert_eq!(call(&daemon, "Status", json!({})).unwrap()["state"], "running");
    let quiesced = call(&daemon, "Quiesce", json!({ "timeout_ms": 60_000 })).unwrap();
    assert_eq!(quiesced["transition"], 1);
    let error = call(&daemon, "Quiesce", json!({})).unwrap_err();
    let text = format!("{error:?}");
    assert!(text.contains("io.snapsafe.Manager.Busy"), "{text}");
    let running = call(&daemon, "Unquiesce", json!({ "expect": "resumed" })).unwrap();
    assert_eq!(running["outcome"], "resumed");
    let error = call(&daemon, "Quiesce", json!({ "timout_ms": 1 })).unwrap_err();
    assert!(format!("{error:?}").contains("InvalidParameter"), "{error:?}");
    let error = call(&daemon, "NoSuchMethod", json!({})).unwrap_err();
    assert!(format!("{error:?}").contains("MethodNotFound"), "{error:?}");
}

#[test]
fn another_implementation_subscribes_with_more() {
    let daemon = Daemon::start();
    let method = "io.snapsafe.Manager.Subscribe";
    let mut events = AnyCall::new(connect(&daemon), method, json!({}));
    let events = events.more().unwrap();
    assert_eq!(events.next().unwrap().unwrap()["state"], "running");
    daemon.quiesce().unwrap();
    loop {
        if events.next().unwrap().unwrap()["state"] == "quiesced" {
            break;
        }
    }
}
