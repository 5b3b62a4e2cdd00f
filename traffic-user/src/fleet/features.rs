//! What a server can do: asked for by name, because forks and builds differ from their version.

use serde::Deserialize;

use super::store::{Store, StoreError};

/// What the statements are made for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is there or not by itself"
)]
pub struct Features {
    /// The server's version, for messages alone.
    pub version: String,
    /// Whether a table can let rows go by their age (`TTL`, from 19.6).
    pub ttl: bool,
    /// Whether an insertion can carry a token by which the server knows it again
    /// (`insert_deduplication_token`, from 22.2).
    pub token: bool,
    /// Whether a table that is not replicated remembers tokens
    /// (`non_replicated_deduplication_window`, from 21.x).
    pub window: bool,
    /// Whether a batch that a table knows again still goes on to its roll-ups, which may lack it
    /// (`deduplicate_blocks_in_dependent_materialized_views`, from 20.x).
    pub views: bool,
}

/// Asks for the version, and for the settings by which features are known.
pub const PROBE: &str = "SELECT version() AS version, \
    (SELECT count() FROM system.merge_tree_settings WHERE name = 'merge_with_ttl_timeout') AS ttl, \
    (SELECT count() FROM system.settings WHERE name = 'insert_deduplication_token') AS token, \
    (SELECT count() FROM system.merge_tree_settings \
    WHERE name = 'non_replicated_deduplication_window') AS window, \
    (SELECT count() FROM system.settings \
    WHERE name = 'deduplicate_blocks_in_dependent_materialized_views') AS views";

#[derive(Deserialize)]
struct Probed {
    version: String,
    ttl: u64,
    token: u64,
    window: u64,
    views: u64,
}

impl Features {
    /// Asks the server.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn probe(store: &Store) -> Result<Self, StoreError> {
        let probed: Probed = store.row(PROBE).await?;
        Ok(Self {
            version: probed.version,
            ttl: probed.ttl > 0,
            token: probed.token > 0,
            window: probed.window > 0,
            views: probed.views > 0,
        })
    }
}
