//! Agents that connect over TLS.

use std::path::Path;

use tokio::process::Command;
use tollgate_tests::Deployment;
use uuid::Uuid;

#[tokio::test]
async fn agents_are_served_over_tls_in_the_protocol_that_they_choose() {
    let folder = std::env::temp_dir().join(format!("tollgate-tls-{}", Uuid::new_v4().simple()));
    std::fs::create_dir(&folder).expect("a folder");
    let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    make_certificate(&cert, &key).await;
    let plan = Deployment::separate(1)
        .env("TOLLGATE_TLS_CERT", &cert.display().to_string())
        .env("TOLLGATE_TLS_KEY", &key.display().to_string());
    let tollgate = plan.start().await;
    let url = format!("{}/t/default/mcp", tollgate.data_url().replacen("http:", "https:", 1));
    assert_eq!(ask(&cert, "--http1.1", &url).await, "1.1 401");
    assert_eq!(ask(&cert, "--http2", &url).await, "2 401");
    std::fs::remove_dir_all(folder).expect("the folder is ours");
}

/// The HTTP version and status that curl sees for a call without a token.
async fn ask(cert: &Path, version: &str, url: &str) -> String {
    let call = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
    let output = Command::new("curl")
        .args(["-sS", version, "-o", "/dev/null", "-w", "%{http_version} %{http_code}", "--cacert"])
        .arg(cert)
        .args(["-H", "Content-Type: application/json", "-H", "Accept: application/json, text/event-stream"])
        .args(["-d", call, url])
        .output()
        .await
        .expect("curl is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

async fn make_certificate(cert: &Path, key: &Path) {
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"])
        .args(["-subj", "/CN=tollgate", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout"])
        .arg(key)
        .arg("-out")
        .arg(cert)
        .output()
        .await
        .expect("openssl is installed");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}
