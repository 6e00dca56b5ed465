//! Everything about the language that users see: needs no engine.

mod cli;
mod dependency_rule;
mod format;
mod grammar;
mod habits;
mod hub;
mod keys;
mod memory;
mod mistakes;
mod pairs;
mod paper;
mod plans;
mod schema;
mod syntax;
mod typos;
mod world;
mod wrong;
