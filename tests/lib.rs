//! What the tests share: namespaces, tools, and how a test says that it cannot run.
