//! From trees to meaning: names, params, typed values, axes and points.
//!
//! ```text
//!   modules ---> scope ---------> reader ------------> declarations ------> points
//!   imports      names, flat      values by the        own axes, fields     inherited axes,
//!                fields, params   types of the schema  with defaults        aligned references
//! ```

mod axis;
pub mod fields;
mod latents;
mod modules;
mod paper;
mod params;
pub mod plot;
mod point;
pub mod query;
mod reader;
mod resolver;
mod scope;
mod sink;
mod typed;

pub use axis::{AxisId, AxisView};
pub use fields::Fields;
pub use params::values as param_values;
pub use point::{Point, matching, side};
pub use reader::Reader;
pub use resolver::{Resolution, Resolved, resolve};
pub use scope::{DeclId, Declared, ParamInForce, Scope, VALUE, Written};
pub use sink::Sink;
pub use typed::{Call, Node, Selector, StepRef, Template, TemplatePiece, Typed};

pub use modules::load;
