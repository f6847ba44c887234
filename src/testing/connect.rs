use super::server::S3Server;
use crate::{Client, ClientBuilder, Credentials};

impl S3Server {
    /// A builder of clients for this server: its endpoint, region and credentials, and no proxy.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use s3flow::testing::S3Server;
    ///
    /// let server = S3Server::start().await?;
    /// let s3 = server.client_builder().build()?.s3().s3root("s3://bucket").build()?;
    /// s3.put("greeting", "hello").await?;
    /// assert_eq!(server.object("bucket", "greeting").as_deref(), Some(&b"hello"[..]));
    /// # Ok(()) }
    /// ```
    pub fn client_builder(&self) -> ClientBuilder {
        Client::builder()
            .endpoint(self.endpoint())
            .region(self.region())
            .credentials(Credentials::new(self.access_key_id(), self.secret_access_key()))
            .use_proxy(false)
    }
}
