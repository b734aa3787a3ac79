//! The receiver of messages.

use super::*;

#[tokio::test]
async fn messages_are_kept_as_they_came_and_refused_on_command() {
    let rig = Rig::small(1).await;
    let control = |method: Method, path: &str| {
        rig.client.request(method, format!("{}/{path}", rig.practice.control_url()))
    };
    rig.fault(Faults { webhook_fails: 1, outage: true, ..Faults::default() });
    for status in [503, 204] {
        let post = control(Method::POST, "webhook").header("X-Signature", "s").body(r#"{ "a":  1 }"#);
        assert_eq!(post.send().await.expect("answer").status(), status);
    }
    let kept = json_of(control(Method::GET, "webhooks").send().await.expect("answer")).await;
    for (at, status) in [(0, 503), (1, 204)] {
        let message = &kept[at];
        assert_eq!((&message["body"], &message["status"]), (&json!(r#"{ "a":  1 }"#), &json!(status)));
        assert_eq!(message["headers"]["x-signature"], "s");
        assert_eq!(message["received_at"], START.to_string());
    }
    assert_eq!((rig.practice.tenant().webhooks().len(), rig.befell(Fault::WebhookFails)), (2, 1));
    assert_refused(control(Method::GET, "webhook").send().await.expect("answer"), 405, None).await;
    assert_eq!(control(Method::DELETE, "webhooks").send().await.expect("answer").status(), 204);
    assert!(rig.practice.tenant().webhooks().is_empty());
    rig.practice.stop().await;
}
