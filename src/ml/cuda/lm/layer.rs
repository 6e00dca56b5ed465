//! One block on a GPU.

use std::sync::Arc;

use super::room::Room;
use super::values::Format;
use super::weights::{Linear, Norm};
use crate::ml::Result;
use crate::ml::cuda::launch::{blocks, launch, run};
use crate::ml::cuda::{Arg, Gpu};
use crate::ml::lm::{Activation, AttentionShape, DecoderConfig, MlpShape, Weights};

/// A kernel of attention, and the queries of its blocks.
#[derive(Clone, Copy)]
pub(super) struct Attend {
    kernel: &'static str,
    queries: usize,
}

/// The kernels of `attention.cu` and of `attention_bf16.cu` by the widest head that each can have.
const ATTEND: [(usize, Attend, Attend); 3] = [
    (64, Attend { kernel: "attend_64", queries: 64 }, Attend { kernel: "attend_narrow_64", queries: 128 }),
    (128, Attend { kernel: "attend_128", queries: 64 }, Attend { kernel: "attend_narrow_128", queries: 128 }),
    (256, Attend { kernel: "attend_256", queries: 64 }, Attend { kernel: "attend_narrow_256", queries: 64 }),
];

impl Attend {
    /// For heads of n numbers in a format; `None` where there is none.
    pub(super) fn of(head: usize, format: Format) -> Option<Self> {
        let (_, wide, narrow) = ATTEND.iter().find(|(widest, ..)| head <= *widest)?;
        Some(if format == Format::Narrow { *narrow } else { *wide })
    }

    /// The widest head that there is a kernel for.
    pub(super) fn widest() -> usize {
        ATTEND[ATTEND.len() - 1].0
    }
}

/// Attention and MLP, each between its norms, as `src/ml/lm/layer.rs`.
pub(super) struct Layer {
    attention_norm: Norm,
    q: Linear,
    k: Linear,
    v: Linear,
    o: Linear,
    head_norms: Option<(Norm, Norm)>,
    attention_post_norm: Option<Norm>,
    mlp_norm: Norm,
    gate: Option<Linear>,
    up: Linear,
    down: Linear,
    mlp_post_norm: Option<Norm>,
    shape: AttentionShape,
    mlp: MlpShape,
    window: Option<usize>,
    /// Which table of angles turns queries and keys, and how many pairs.
    turned: Option<(usize, usize)>,
    attend: Attend,
}

impl Layer {
    /// Parts of layer `l`.
    pub(super) fn new(
        gpu: &Arc<dyn Gpu>,
        config: &DecoderConfig,
        l: usize,
        weights: &Weights,
        turned: Option<(usize, usize)>,
        attend: Attend,
    ) -> Result<Self> {
        let (d, shape, mlp) = (config.width, config.attention, config.mlp);
        let (q, kv) = (shape.heads * shape.head, shape.kv_heads * shape.head);
        let norm = |name: &str, n: usize| Norm::new(gpu, weights, &format!("layers.{l}.{name}"), config.norm, n);
        let post_norm = |name: &str| if config.post_norms { norm(name, d).map(Some) } else { Ok(None) };
        let linear = |name: &str, sizes: [usize; 2], bias: bool| {
            Linear::new(gpu, weights, &format!("layers.{l}.{name}"), sizes, bias)
        };
        Ok(Layer {
            attention_norm: norm("attention_norm", d)?,
            q: linear("q", [q, d], shape.qkv_bias)?,
            k: linear("k", [kv, d], shape.qkv_bias)?,
            v: linear("v", [kv, d], shape.qkv_bias)?,
            o: linear("o", [d, q], shape.out_bias)?,
            head_norms: match shape.head_norms {
                true => Some((norm("q_norm", shape.head)?, norm("k_norm", shape.head)?)),
                false => None,
            },
            attention_post_norm: post_norm("attention_post_norm")?,
            mlp_norm: norm("mlp_norm", d)?,
            gate: if mlp.gated { Some(linear("gate", [mlp.inner, d], mlp.bias)?) } else { None },
            up: linear("up", [mlp.inner, d], mlp.bias)?,
            down: linear("down", [d, mlp.inner], mlp.bias)?,
            mlp_post_norm: post_norm("mlp_post_norm")?,
            shape,
            mlp,
            window: config.layers[l].window,
            turned,
            attend,
        })
    }

    /// What attention adds to `room.stream [B * T, d]`, into `room.attention`.
    pub(super) fn attention(&self, gpu: &Arc<dyn Gpu>, tokens: usize, room: &mut Room) -> Result<()> {
        self.attention_norm.apply(gpu, &room.stream, &mut room.normed)?;
        self.q.apply(gpu, &room.normed, &mut room.scratch, &mut room.q)?;
        self.k.apply(gpu, &room.normed, &mut room.scratch, &mut room.k)?;
        self.v.apply(gpu, &room.normed, &mut room.scratch, &mut room.v)?;
        if let Some((q_norm, k_norm)) = &self.head_norms {
            q_norm.replace(gpu, &mut room.q)?;
            k_norm.replace(gpu, &mut room.k)?;
        }
        let AttentionShape { heads, kv_heads, head, .. } = self.shape;
        if let Some((table, pairs)) = self.turned {
            for (x, heads) in [(&room.q, heads), (&room.k, kv_heads)] {
                let count = x.len() / head * pairs;
                let (grid, angles) = ([blocks(count), 1], room.angles(table));
                launch!(gpu, "rotate", grid, x, angles, count as u64, tokens, heads, head, pairs, x.format())?;
            }
        }
        self.attend(gpu, tokens, room)?;
        self.o.apply(gpu, &room.attended, &mut room.scratch, &mut room.attention)?;
        match &self.attention_post_norm {
            Some(norm) => norm.replace(gpu, &mut room.attention),
            None => Ok(()),
        }
    }

    /// softmax(mask(cap(scale q k^T))) v of the room, into `room.attended`.
    fn attend(&self, gpu: &Arc<dyn Gpu>, tokens: usize, room: &mut Room) -> Result<()> {
        let AttentionShape { heads, kv_heads, head, .. } = self.shape;
        room.attended.resize(room.q.len())?;
        let sequences = room.q.len() / (tokens * heads * head);
        let grid = [(sequences * heads * tokens.div_ceil(self.attend.queries)) as u32, 1];
        let window = self.window.and_then(|window| u32::try_from(window).ok()).unwrap_or(u32::MAX);
        let mut args: Vec<Arg> = [&room.q, &room.k, &room.v].map(Arg::from).into();
        args.extend([tokens, heads, kv_heads, head].map(Arg::from));
        args.extend([self.shape.scale, self.shape.cap.unwrap_or(0.0)].map(Arg::from));
        args.push(Arg::from(window));
        if room.q.format() != Format::Narrow {
            args.push(Arg::from(room.q.format()));
        }
        args.push(Arg::from(&room.attended));
        run(&**gpu, self.attend.kernel, grid, &args)
    }

    /// What the MLP adds to `room.stream [N, d]`, into `room.mlp`.
    pub(super) fn mlp(&self, gpu: &Arc<dyn Gpu>, room: &mut Room) -> Result<()> {
        self.mlp_norm.apply(gpu, &room.stream, &mut room.normed)?;
        self.up.apply(gpu, &room.normed, &mut room.scratch, &mut room.up)?;
        let kind: u32 = match self.mlp.activation {
            Activation::Gelu => 0,
            Activation::GeluTanh => 1,
            Activation::Silu => 2,
        };
        let (count, format) = (room.up.len(), room.up.format());
        let grid = [blocks(count), 1];
        match &self.gate {
            Some(gate) => {
                gate.apply(gpu, &room.normed, &mut room.scratch, &mut room.gate)?;
                launch!(gpu, "activate", grid, &room.gate, &room.up, count as u64, kind, format, &room.up)?;
            }
            None => {
                let none = Arg::Place(0);
                launch!(gpu, "activate", grid, &room.up, none, count as u64, kind, format, &room.up)?;
            }
        }
        self.down.apply(gpu, &room.up, &mut room.scratch, &mut room.mlp)?;
        match &self.mlp_post_norm {
            Some(norm) => norm.replace(gpu, &mut room.mlp),
            None => Ok(()),
        }
    }
}
