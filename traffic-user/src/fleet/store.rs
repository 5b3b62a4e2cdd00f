//! The one door to the ClickHouse client.

use std::time::Duration;

use clickhouse::{Client, Compression, error::Error};
use serde::de::DeserializeOwned;
use thiserror::Error as ThisError;

use super::{features::Features, parcel::Batch, target::Target};

/// How long a server may take to accept the next bytes of a batch.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);
/// How long it may take to store a batch.
const STORE_TIMEOUT: Duration = Duration::from_mins(1);

/// A server that failed between storing a batch and its roll-ups gets it again, knows it, and
/// still owes the roll-ups.
const VIEWS: &str = "deduplicate_blocks_in_dependent_materialized_views";

/// A connection to a database; copies share it.
#[derive(Clone)]
pub struct Store {
    client: Client,
    target: Target,
}

/// Why the server did not do what was asked.
#[derive(Debug, ThisError)]
pub enum StoreError {
    /// It answered, with an exception.
    #[error("{0}")]
    Refused(String),
    /// It could not be reached, or did not answer in time.
    #[error("{0}")]
    Unreachable(String),
    /// It answered something else.
    #[error("an answer that is not expected: {0}")]
    Answer(String),
}

impl From<Error> for StoreError {
    fn from(error: Error) -> Self {
        if let Error::BadResponse(text) = &error {
            return Self::Refused(first_line(text));
        }
        // Each link of the chain says more than the one before.
        let mut text = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            let cause_text = cause.to_string();
            if !text.ends_with(&cause_text) {
                text = format!("{text}: {cause_text}");
            }
            source = cause.source();
        }
        Self::Unreachable(text)
    }
}

/// The server appends a stack trace.
fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().trim().to_owned()
}

impl Store {
    /// Prepares a connection; nothing is sent yet.
    #[must_use]
    pub fn new(target: &Target, password: Option<&str>) -> Self {
        let mut client = Client::default()
            .with_url(target.url())
            // Old servers know no types in their answers.
            .with_validation(false)
            .with_compression(Compression::Lz4)
            .with_setting("output_format_json_quote_64bit_integers", "0")
            // A replica that is behind would answer with less; it is asked where there is no other.
            .with_setting("max_replica_delay_for_distributed_queries", "1");
        if let Some(user) = &target.user {
            client = client.with_user(user);
        }
        if let Some(password) = password {
            client = client.with_password(password);
        }
        Self {
            client,
            target: target.clone(),
        }
    }

    /// The database.
    #[must_use]
    pub fn database(&self) -> &str {
        &self.target.database
    }

    /// Where it is.
    #[must_use]
    pub const fn target(&self) -> &Target {
        &self.target
    }

    /// Runs a statement that has no answer.
    ///
    /// # Errors
    /// When the server does not run it.
    pub async fn execute(&self, sql: &str) -> Result<(), StoreError> {
        Ok(self.client.query_raw(sql).execute().await?)
    }

    /// Runs a query and reads its rows by the names of their columns.
    ///
    /// # Errors
    /// When the server does not answer, or something else.
    pub async fn rows<T: DeserializeOwned>(&self, sql: &str) -> Result<Vec<T>, StoreError> {
        let mut answer = self.client.query_raw(sql).fetch_bytes("JSONEachRow")?;
        let bytes = answer.collect().await?;
        let rows = serde_json::Deserializer::from_slice(&bytes).into_iter();
        rows.collect::<Result<_, _>>()
            .map_err(|error| StoreError::Answer(error.to_string()))
    }

    /// The only row of a query's answer.
    ///
    /// # Errors
    /// As [`Store::rows`], and when there is none or several.
    pub async fn row<T: DeserializeOwned>(&self, sql: &str) -> Result<T, StoreError> {
        let mut rows = self.rows(sql).await?;
        match (rows.pop(), rows.is_empty()) {
            (Some(row), true) => Ok(row),
            (row, _) => Err(StoreError::Answer(format!(
                "{} rows, not one",
                rows.len() + usize::from(row.is_some())
            ))),
        }
    }

    /// Stores a batch: when this returns without an error the server has it.
    ///
    /// # Errors
    /// When the server does not say so in time. It may have the batch all the same: sending it
    /// again is right.
    pub async fn insert(
        &self,
        batch: &Batch,
        token: &str,
        features: &Features,
    ) -> Result<(), StoreError> {
        let mut insertion = self
            .client
            .insert_formatted_with(batch.table.insertion(&self.target.database))
            // A table that hands rows on to shards answers when those have them.
            .with_setting("insert_distributed_sync", "1")
            .with_timeouts(Some(SEND_TIMEOUT), Some(STORE_TIMEOUT));
        if features.token {
            insertion = insertion.with_setting("insert_deduplication_token", token);
        }
        if features.views {
            insertion = insertion.with_setting(VIEWS, "1");
        }
        let mut insertion = insertion.buffered();
        let mut rest = batch.rows.bytes.as_slice();
        while !rest.is_empty() {
            // It takes as much as its buffer has room for.
            let taken = insertion.write(rest).await?;
            rest = &rest[taken..];
        }
        Ok(insertion.end().await?)
    }
}
