use super::super::environment::tests::{USER, environment, on};
use super::super::metaflow::tests::Machine;
use super::*;

fn built(variables: &[(&str, &str)]) -> Result<Client> {
    Client::builder().build_in(&environment(variables))
}

#[test]
fn a_builder_wins_over_the_environment_and_that_over_the_default() {
    let client = built(&[]).unwrap();
    assert_eq!(client.parts().concurrency, 64);
    let variables =
        [("METAFLOW_S3_WORKER_COUNT", "4"), ("METAFLOW_TEMPDIR", "/somewhere"), ("METAFLOW_S3_RETRY_COUNT", "2")];
    let client = built(&variables).unwrap();
    assert_eq!(client.parts().concurrency, 4);
    assert_eq!(*client.parts().retries.policy(), RetryPolicy::metaflow(2, 20));
    assert_eq!(client.parts().tmproot, PathBuf::from("/somewhere"));
    let client = Client::builder().concurrency(5).build_in(&environment(&variables)).unwrap();
    assert_eq!(client.s3().build().unwrap().concurrency(), 5);
    assert_eq!(client.s3().concurrency(6).build().unwrap().concurrency(), 6);
}

#[test]
fn what_a_builder_sets_is_not_looked_for_elsewhere() {
    let settings = [
        "METAFLOW_S3_ENDPOINT_URL",
        "METAFLOW_S3_WORKER_COUNT",
        "METAFLOW_S3_RETRY_COUNT",
        "METAFLOW_S3_SERVER_SIDE_ENCRYPTION",
        "METAFLOW_S3_VERIFY_CERTIFICATE",
        "METAFLOW_TEMPDIR",
        "METAFLOW_DATATOOLS_S3ROOT",
    ];
    let broken: serde_json::Map<_, _> = settings.iter().map(|name| ((*name).into(), serde_json::json!([]))).collect();
    let machine = Machine::new(&[(USER, &serde_json::Value::Object(broken).to_string())]);
    let complete = Client::builder()
        .endpoint("http://builder")
        .concurrency(1)
        .retries(0)
        .encryption(Encryption::Aes256)
        .tls_roots(TlsRoots::None)
        .tmproot("/builder")
        .datatools_s3root("s3://builder");
    complete.clone().build_in(&on(&machine, &[])).unwrap();
    // Each of them is looked for when the builder has it not.
    let without = |change: fn(&mut ClientBuilder)| {
        let mut builder = complete.clone();
        change(&mut builder);
        builder.build_in(&on(&machine, &[])).unwrap_err()
    };
    for (error, name) in [
        without(|builder| builder.endpoint = None),
        without(|builder| builder.concurrency = None),
        without(|builder| builder.retries = None),
        without(|builder| builder.encryption = None),
        without(|builder| builder.tls_roots = None),
        without(|builder| builder.tmproot = None),
        without(|builder| builder.datatools_s3root = None),
    ]
    .iter()
    .zip(settings)
    {
        let place = format!("{name} in {}", machine.path(USER).display());
        assert!(error.kind() == ErrorKind::Config && error.to_string().contains(&place), "{error}");
    }
}

#[test]
fn metaflows_files_set_what_the_environment_does_not() {
    let file = r#"{"METAFLOW_S3_ENDPOINT_URL": "http://file", "METAFLOW_S3_WORKER_COUNT": 5,
                   "METAFLOW_S3_RETRY_COUNT": "3", "METAFLOW_S3_TRANSIENT_RETRY_COUNT": 4,
                   "METAFLOW_S3_SERVER_SIDE_ENCRYPTION": "AES256",
                   "METAFLOW_TEMPDIR": "/file", "METAFLOW_UNKNOWN": [], "METAFLOW_SERVICE_AUTH_KEY": "hunter2"}"#;
    let machine = Machine::new(&[(USER, file)]);
    let client = Client::builder().build_in(&on(&machine, &[("AWS_ENDPOINT_URL", "http://aws")])).unwrap();
    let parts = client.parts();
    assert_eq!((parts.concurrency, parts.retries.policy()), (5, &RetryPolicy::metaflow(3, 4)));
    assert_eq!(parts.encryption, Some(Encryption::Aes256));
    assert_eq!(parts.tmproot, PathBuf::from("/file"));
    let shown = format!("{client:?}");
    // Metaflow hands it to boto3, which asks the variables of AWS only without it.
    assert!(shown.contains("authority: file,") && !shown.contains("hunter2"), "{shown}");
    let hidden = [("METAFLOW_S3_ENDPOINT_URL", ""), ("AWS_ENDPOINT_URL", "http://aws")];
    let client = Client::builder().build_in(&on(&machine, &hidden)).unwrap();
    assert!(format!("{client:?}").contains("authority: aws,"), "{client:?}");
}

#[test]
fn certificates_are_verified_whatever_the_environment_says() {
    let verify = |value: &str| built(&[("METAFLOW_S3_VERIFY_CERTIFICATE", value)]);
    for on in ["", "true", "1"] {
        verify(on).unwrap();
    }
    for off in ["false", "False", "0"] {
        let error = verify(off).unwrap_err();
        assert!(error.to_string().contains("METAFLOW_S3_VERIFY_CERTIFICATE"), "{error}");
        assert!(error.to_string().contains("always verified"), "{error}");
    }
    let machine =
        Machine::new(&[("bundle.pem", "no certificate"), (USER, r#"{"METAFLOW_S3_VERIFY_CERTIFICATE": false}"#)]);
    let error = Client::builder().build_in(&on(&machine, &[])).unwrap_err();
    assert!(error.to_string().contains(machine.path(USER).to_str().unwrap()), "{error}");
    let bundle = machine.path("bundle.pem");
    let error = verify(bundle.to_str().unwrap()).unwrap_err();
    for named in ["METAFLOW_S3_VERIFY_CERTIFICATE", "bundle.pem", "holds no PEM certificate"] {
        assert!(error.kind() == ErrorKind::Config && error.to_string().contains(named), "{error}");
    }
}

#[test]
fn the_encryption_of_the_environment_is_that_of_every_scope() {
    let encryption = |variables| built(variables).unwrap().parts().encryption.clone();
    assert_eq!(encryption(&[]), None);
    assert_eq!(encryption(&[("METAFLOW_S3_SERVER_SIDE_ENCRYPTION", "AES256")]), Some(Encryption::Aes256));
    let client = Client::builder().encryption(Encryption::Aes256);
    let client = client.build_in(&environment(&[("METAFLOW_S3_SERVER_SIDE_ENCRYPTION", "aws:kms")])).unwrap();
    assert_eq!(client.parts().encryption, Some(Encryption::Aes256));
}

#[test]
fn a_policy_of_the_builder_is_the_clients_and_a_number_of_retries_changes_its_counts() {
    let policy = |builder: ClientBuilder, variables| {
        builder.build_in(&environment(variables)).unwrap().parts().retries.policy().clone()
    };
    let broken = [("METAFLOW_S3_RETRY_COUNT", "x"), ("METAFLOW_S3_TRANSIENT_RETRY_COUNT", "x")];
    let batch = || Client::builder().retry_policy(RetryPolicy::batch());
    assert_eq!(policy(batch(), &broken), RetryPolicy::batch());
    let fewer = RetryPolicy::batch().transient_retries(5).throttled_retries(5).unreachable_retries(5);
    assert_eq!(policy(batch().retries(5), &broken), fewer);
    assert_eq!(policy(Client::builder().retries(0), &broken), RetryPolicy::none());
    let only_throttled = [("METAFLOW_S3_TRANSIENT_RETRY_COUNT", " 1 ")];
    assert_eq!(policy(Client::builder(), &only_throttled), RetryPolicy::metaflow(7, 1));
    assert_eq!(policy(Client::builder(), &[]), RetryPolicy::default());
}

#[test]
fn a_policy_that_contradicts_itself_is_refused() {
    let policy = RetryPolicy::default().first_wait(Duration::from_secs(21));
    let error = Client::builder().retry_policy(policy).build_in(&environment(&[])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("longest_wait"), "{error}");
}

#[test]
fn a_part_that_s3_does_not_take_is_refused() {
    let mib = 1 << 20;
    for size in [0, 5 * mib - 1, 5 * 1024 * mib + 1] {
        let client = Client::builder().part_size(size).build_in(&environment(&[])).unwrap_err();
        let scope = built(&[]).unwrap().s3().part_size(size).build().unwrap_err();
        for error in [client, scope] {
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.to_string().contains(&format!("part_size is {size} bytes")), "{error}");
        }
    }
    for size in [5 * mib, 5 * 1024 * mib] {
        Client::builder().part_size(size).build_in(&environment(&[])).unwrap();
    }
}

#[test]
fn a_timeout_of_nothing_is_refused() {
    let no_deadline = RetryPolicy::default().deadline(Duration::ZERO);
    for (builder, named) in [
        (Client::builder().idle_timeout(Duration::ZERO), "idle_timeout"),
        (Client::builder().connect_timeout(Duration::ZERO), "connect_timeout"),
        (Client::builder().retry_policy(no_deadline), "retry_policy's deadline"),
    ] {
        let error = builder.build_in(&environment(&[])).unwrap_err();
        assert!(error.kind() == ErrorKind::Config && error.to_string().contains(named), "{error}");
    }
}

#[test]
fn the_endpoint_of_metaflow_wins_over_the_one_of_aws() {
    let client = built(&[
        ("AWS_ENDPOINT_URL", "http://c"),
        ("AWS_ENDPOINT_URL_S3", "http://b"),
        ("METAFLOW_S3_ENDPOINT_URL", "http://a"),
    ])
    .unwrap();
    assert!(format!("{client:?}").contains("authority: a,"), "{client:?}");
}

#[test]
fn what_cannot_be_used_is_named() {
    for (variables, named) in [
        (&[("METAFLOW_S3_WORKER_COUNT", "many")][..], "METAFLOW_S3_WORKER_COUNT"),
        (&[("METAFLOW_S3_WORKER_COUNT", "0")], "METAFLOW_S3_WORKER_COUNT is \"0\""),
        (&[("METAFLOW_S3_RETRY_COUNT", "-1")], "METAFLOW_S3_RETRY_COUNT is \"-1\""),
        (&[("METAFLOW_S3_TRANSIENT_RETRY_COUNT", "2.5")], "METAFLOW_S3_TRANSIENT_RETRY_COUNT is \"2.5\""),
        (&[("METAFLOW_S3_ENDPOINT_URL", "nowhere")], "METAFLOW_S3_ENDPOINT_URL"),
        (&[("AWS_ENDPOINT_URL", "ftp://host")], "http:// or https://"),
        (&[("METAFLOW_S3_SERVER_SIDE_ENCRYPTION", "rot13")], "METAFLOW_S3_SERVER_SIDE_ENCRYPTION is \"rot13\""),
        (&[("AWS_ACCESS_KEY_ID", "AKID")], "AWS_SECRET_ACCESS_KEY"),
        (&[("METAFLOW_S3_VERIFY_CERTIFICATE", "/no/such/bundle")], "/no/such/bundle"),
    ] {
        let error = built(variables).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains(named), "{error}");
    }
}

#[test]
fn a_ca_that_is_not_a_certificate_is_refused() {
    for pem in ["", "not PEM", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        let error = Client::builder().ca_certificate(pem).build_in(&environment(&[])).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains("certificate"), "{error}");
    }
}

#[test]
fn debug_shows_no_secret() {
    let credentials = Credentials::new("AKID", "hunter2").session_token("hunter3");
    let builder = Client::builder().credentials(credentials);
    let from_environment = built(&[("AWS_ACCESS_KEY_ID", "AKID"), ("AWS_SECRET_ACCESS_KEY", "hunter4")]).unwrap();
    for shown in [
        format!("{builder:?}"),
        format!("{:?}", builder.build_in(&environment(&[])).unwrap()),
        format!("{from_environment:?}"),
    ] {
        assert!(!shown.contains("hunter"), "{shown}");
    }
}
