//! What the environment says is followed: credentials of roles, proxies, TLS roots, Metaflow's files.

use s3flow::testing::S3Server;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;

use crate::shell::Shell;
use crate::transport::tls_front;

/// Puts an object by way of `s3op`, which must succeed.
async fn put(shell: &Shell, configure: impl FnOnce(&mut Command)) {
    let file = shell.write("file", "text");
    let mut command = shell.s3op(["put", "s3://bucket/k", &file]);
    configure(&mut command);
    shell.run(command, "").await.done();
    assert_eq!(shell.server.object("bucket", "k").as_deref(), Some(&b"text"[..]));
}

/// The head of an HTTP request.
async fn read_head(connection: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(connection.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

/// A service that hands out the server's credentials as ECS, EKS and EC2 do; its URL.
async fn credential_service(server: &S3Server) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let credentials = serde_json::json!({
        "Code": "Success",
        "Type": "AWS-HMAC",
        "LastUpdated": "2026-01-01T00:00:00Z",
        "AccessKeyId": server.access_key_id(),
        "SecretAccessKey": server.secret_access_key(),
        "Token": "session-token",
        "Expiration": "2100-01-01T00:00:00Z",
    })
    .to_string();
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            let head = read_head(&mut connection).await;
            let body = match head.split(' ').nth(1).unwrap() {
                "/latest/api/token" => "metadata-token",
                "/latest/meta-data/iam/security-credentials/" => "role",
                "/latest/meta-data/iam/security-credentials/role" => &credentials,
                "/pod" if head.to_lowercase().contains("authorization: pod-token\r\n") => &credentials,
                path => panic!("nobody asks for {path}: {head}"),
            };
            let answer =
                format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
            connection.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    url
}

#[tokio::test]
async fn the_credentials_of_a_pod_sign_requests() {
    let shell = Shell::new().await;
    let url = credential_service(&shell.server).await;
    let token_file = shell.write("pod-token", "pod-token");
    put(&shell, |command| {
        command.env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY");
        command.env("AWS_CONTAINER_CREDENTIALS_FULL_URI", format!("{url}/pod"));
        command.env("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", token_file);
    })
    .await;
    assert_eq!(shell.server.log()[0].header("x-amz-security-token"), Some("session-token"));
}

#[tokio::test]
async fn the_role_of_an_instance_signs_requests() {
    let shell = Shell::new().await;
    let url = credential_service(&shell.server).await;
    put(&shell, |command| {
        command.env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY");
        command.env_remove("AWS_EC2_METADATA_DISABLED");
        command.env("AWS_METADATA_ENDPOINT", url);
    })
    .await;
}

#[tokio::test]
async fn a_role_that_cannot_be_had_is_reported_within_seconds_and_asked_for_once() {
    let shell = Shell::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let mut command = shell.s3op(["get", "s3://bucket/a", "s3://bucket/b", "s3://bucket/c"]);
    command.env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY");
    command.env_remove("AWS_EC2_METADATA_DISABLED");
    command.env("AWS_METADATA_ENDPOINT", url);
    // Accepts and never answers, as a firewalled metadata service does.
    let start = std::time::Instant::now();
    let ran = shell.run(command, "").await;
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.stderr.contains("no AWS credentials found"), "{ran:?}");
    assert!(start.elapsed() < std::time::Duration::from_secs(30), "{:?}", start.elapsed());
    assert!(shell.server.log().is_empty());
    drop(listener);
}

#[tokio::test]
async fn an_http_proxy_gets_the_request_and_its_own_credentials() {
    let shell = Shell::new().await;
    // The server takes requests as a proxy gets them; the endpoint's name leads nowhere else.
    let proxy = shell.server.endpoint().replace("http://", "http://user:pass@");
    put(&shell, |command| {
        command.env("AWS_ENDPOINT_URL", "http://s3.example.invalid").env("HTTP_PROXY", proxy);
    })
    .await;
    let log = shell.server.log();
    assert_eq!(log[0].header("host"), Some("s3.example.invalid"));
    assert_eq!(log[0].header("proxy-authorization"), Some("Basic dXNlcjpwYXNz"));
}

#[tokio::test]
async fn no_proxy_is_followed() {
    let shell = Shell::new().await;
    put(&shell, |command| {
        command.env("HTTP_PROXY", "http://proxy.example.invalid").env("NO_PROXY", "127.0.0.1");
    })
    .await;
}

#[tokio::test]
async fn an_https_proxy_tunnels_tls_with_the_roots_of_the_environment() {
    let shell = Shell::new().await;
    let (front, ca) = tls_front(&shell.server).await;
    let ca_file = shell.write("ca.pem", ca);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = format!("http://{}", listener.local_addr().unwrap());
    let tunnel = tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        let head = read_head(&mut client).await;
        client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        let front = front.trim_start_matches("https://").to_owned();
        let mut server = TcpStream::connect(front).await.unwrap();
        // Ends as the client ends.
        let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
        head
    });
    put(&shell, |command| {
        // The port is the proxy's business: nobody listens there.
        command.env("AWS_ENDPOINT_URL", "https://localhost:1").env("HTTPS_PROXY", proxy).env("SSL_CERT_FILE", ca_file);
    })
    .await;
    assert!(tunnel.await.unwrap().starts_with("CONNECT localhost:1 HTTP/1.1\r\n"));
}

/// Of Metaflow's, with these fields.
fn write_config(shell: &Shell, path: &str, fields: serde_json::Value) {
    std::fs::create_dir_all(shell.work.path().join(path).parent().unwrap()).unwrap();
    shell.write(path, fields.to_string());
}

#[tokio::test]
async fn the_files_of_metaflow_in_the_home_and_the_project_are_followed() {
    for file in [".metaflowconfig/config.json", ".metaflow/config.json"] {
        let shell = Shell::new().await;
        let endpoint = shell.server.endpoint();
        write_config(&shell, file, serde_json::json!({ "METAFLOW_S3_ENDPOINT_URL": endpoint }));
        // The project is the one that the process is somewhere in.
        let below = shell.work.path().join("deep/down");
        std::fs::create_dir_all(&below).unwrap();
        put(&shell, |command| {
            command.env("AWS_ENDPOINT_URL", "http://s3.example.invalid").current_dir(below);
        })
        .await;
    }
}

#[tokio::test]
async fn a_profile_of_metaflow_is_followed_and_one_that_is_not_there_is_named() {
    let shell = Shell::new().await;
    let endpoint = shell.server.endpoint();
    write_config(&shell, "home/config_test.json", serde_json::json!({ "METAFLOW_S3_ENDPOINT_URL": endpoint }));
    put(&shell, |command| {
        command.env("AWS_ENDPOINT_URL", "http://s3.example.invalid");
        command.env("METAFLOW_HOME", "~/home").env("METAFLOW_PROFILE", "test");
    })
    .await;
    let mut command = shell.s3op(["get", "s3://bucket/k"]);
    command.env("METAFLOW_HOME", "~/home").env("METAFLOW_PROFILE", "none");
    let ran = shell.run(command, "").await;
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.stderr.contains("METAFLOW_PROFILE") && ran.stderr.contains("home/config_none.json"), "{ran:?}");
}

#[tokio::test]
async fn the_bundle_of_metaflow_is_trusted_in_place_of_the_platforms_roots() {
    let shell = Shell::new().await;
    let (front, ca) = tls_front(&shell.server).await;
    let (_, other_ca) = tls_front(&shell.server).await;
    let ca_file = shell.write("ca.pem", ca);
    let other_file = shell.write("other.pem", other_ca);
    put(&shell, |command| {
        command.env("AWS_ENDPOINT_URL", &front).env("METAFLOW_S3_VERIFY_CERTIFICATE", &ca_file);
    })
    .await;
    // The platform trusts the server here, and the bundle does not.
    let mut command = shell.s3op(["get", "s3://bucket/k"]);
    command.env("AWS_ENDPOINT_URL", front).env("METAFLOW_S3_RETRY_COUNT", "0");
    command.env("SSL_CERT_FILE", ca_file).env("METAFLOW_S3_VERIFY_CERTIFICATE", other_file);
    let ran = shell.run(command, "").await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
}
