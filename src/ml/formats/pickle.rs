//! A pickle machine that can make tensors, numbers, texts and containers of them, and nothing else.
//!
//! A pickle is a program: Python's reader imports and calls whatever it names. This one knows a fixed list of names
//! ([`Global::of`]), calls nothing, and refuses every other name before it goes on. What it makes lies in one list of
//! [`Node`]s that refer to one another by index, so that memory stays linear in the size of the file, however often
//! the file repeats itself.

use std::collections::BTreeMap;

/// Place of a value among [`Pickle::nodes`].
pub type NodeId = usize;

/// Tensors have few dimensions; a file that claims more is not one.
const MOST_DIMENSIONS: usize = 32;

/// Number format of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dtype {
    F64,
    F32,
    F16,
    Bf16,
    I64,
    I32,
    I16,
    I8,
    U8,
    Bool,
}

impl Dtype {
    const NAMES: [(&'static str, &'static str, Dtype); 10] = [
        ("DoubleStorage", "float64", Dtype::F64),
        ("FloatStorage", "float32", Dtype::F32),
        ("HalfStorage", "float16", Dtype::F16),
        ("BFloat16Storage", "bfloat16", Dtype::Bf16),
        ("LongStorage", "int64", Dtype::I64),
        ("IntStorage", "int32", Dtype::I32),
        ("ShortStorage", "int16", Dtype::I16),
        ("CharStorage", "int8", Dtype::I8),
        ("ByteStorage", "uint8", Dtype::U8),
        ("BoolStorage", "bool", Dtype::Bool),
    ];

    /// Bytes of one number.
    pub fn size(self) -> usize {
        match self {
            Dtype::F64 | Dtype::I64 => 8,
            Dtype::F32 | Dtype::I32 => 4,
            Dtype::F16 | Dtype::Bf16 | Dtype::I16 => 2,
            Dtype::I8 | Dtype::U8 | Dtype::Bool => 1,
        }
    }

    /// Of `bfloat16` or `torch.bfloat16`.
    pub fn of_name(name: &str) -> Option<Self> {
        let name = name.strip_prefix("torch.").unwrap_or(name);
        Self::NAMES.iter().find(|(_, word, _)| *word == name).map(|(_, _, dtype)| *dtype)
    }

    /// `bfloat16`.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, _, dtype)| *dtype == self).map_or("", |(_, name, _)| name)
    }

    /// The name of torch's class for storages of it: `BFloat16Storage`.
    pub fn storage(self) -> &'static str {
        Self::NAMES.iter().find(|(_, _, dtype)| *dtype == self).map_or("", |(storage, _, _)| storage)
    }

    fn of_storage(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(storage, _, _)| *storage == name).map(|(_, _, dtype)| *dtype)
    }
}

/// A view into a storage: element i has the index offset + sum of i_k * stride_k, counted in numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorView {
    /// Name of the storage in the archive.
    pub storage: String,
    pub dtype: Dtype,
    pub offset: u64,
    pub shape: Vec<u64>,
    pub strides: Vec<u64>,
}

/// What a pickle of tensors is made of.
#[derive(Clone, Debug, PartialEq)]
pub enum Node {
    None,
    Truth(bool),
    Whole(i64),
    Real(f64),
    Text(String),
    Tuple(Vec<NodeId>),
    List(Vec<NodeId>),
    Dict(Vec<(NodeId, NodeId)>),
    Tensor(TensorView),
    /// A storage, before a tensor views it: its name, format and length in numbers.
    Storage {
        key: String,
        dtype: Dtype,
        length: u64,
    },
    /// A name of the list, before it is applied.
    Global(Global),
    /// A place on the stack.
    Mark,
}

/// The names that a file may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Global {
    /// `_rebuild_tensor(storage, offset, size, stride)` and `_rebuild_tensor_v2(.., requires_grad, hooks)`.
    Tensor,
    /// `_rebuild_tensor_v3(.., dtype, ..)`: the storage is untyped.
    TensorOfType,
    /// `_rebuild_parameter(tensor, ..)`.
    Parameter,
    OrderedDict,
    /// `torch.Size(..)`.
    Size,
    Device,
    Storage(Dtype),
    UntypedStorage,
    Type(Dtype),
}

impl Global {
    fn of(module: &str, name: &str) -> Option<Self> {
        Some(match (module, name) {
            ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => Global::Tensor,
            ("torch._utils", "_rebuild_tensor_v3") => Global::TensorOfType,
            ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") => Global::Parameter,
            ("collections", "OrderedDict") => Global::OrderedDict,
            ("torch", "Size") => Global::Size,
            ("torch", "device") => Global::Device,
            ("torch.storage" | "torch", "UntypedStorage") => Global::UntypedStorage,
            ("torch" | "torch.cuda", storage) if Dtype::of_storage(storage).is_some() => {
                Global::Storage(Dtype::of_storage(storage)?)
            }
            ("torch", dtype) => Global::Type(Dtype::of_name(dtype)?),
            _ => return None,
        })
    }
}

/// Everything that a pickle makes.
#[derive(Clone, Debug)]
pub struct Pickle {
    pub nodes: Vec<Node>,
    pub root: NodeId,
    /// Bytes up to and with the last instruction.
    pub length: usize,
}

impl Pickle {
    /// Runs the program at the start of `bytes`.
    ///
    /// # Errors
    /// A sentence: a name that is not on the list, an instruction that is not known, or an end that comes too soon.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        let mut machine = Machine { bytes, at: 0, nodes: Vec::new(), stack: Vec::new(), memo: BTreeMap::new() };
        let root = machine.run()?;
        Ok(Pickle { root, length: machine.at, nodes: machine.nodes })
    }

    /// A node; a defect of the machine, not of the file, if there is none.
    pub fn node(&self, id: NodeId) -> &Node {
        self.nodes.get(id).unwrap_or(&Node::None)
    }
}

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    nodes: Vec<Node>,
    stack: Vec<NodeId>,
    memo: BTreeMap<u64, NodeId>,
}

type Step<T = ()> = Result<T, String>;

impl Machine<'_> {
    fn run(&mut self) -> Step<NodeId> {
        loop {
            let instruction = self.take(1)?[0];
            match instruction {
                b'.' => return self.pop(),
                0x80 => self.protocol()?,
                0x95 => drop(self.take(8)?),
                b'(' => self.push(Node::Mark),
                b'0' => drop(self.pop()?),
                b'1' => drop(self.since_mark()?),
                b'2' => {
                    let top = self.top()?;
                    self.stack.push(top);
                }
                b'N' => self.push(Node::None),
                0x88 => self.push(Node::Truth(true)),
                0x89 => self.push(Node::Truth(false)),
                b'J' | b'K' | b'M' | 0x8a | 0x8b | b'G' => self.number(instruction)?,
                b'X' | 0x8c | 0x8d => self.text(instruction)?,
                b')' | 0x85 | 0x86 | 0x87 | b't' => self.tuple(instruction)?,
                b']' => self.push(Node::List(Vec::new())),
                b'l' => {
                    let items = self.since_mark()?;
                    self.push(Node::List(items));
                }
                b'}' => self.push(Node::Dict(Vec::new())),
                b'd' => {
                    let items = self.since_mark()?;
                    self.push(Node::Dict(Vec::new()));
                    self.set_items(&items)?;
                }
                b'a' => {
                    let item = self.pop()?;
                    self.append(&[item])?;
                }
                b'e' => {
                    let items = self.since_mark()?;
                    self.append(&items)?;
                }
                b's' => {
                    let (value, key) = (self.pop()?, self.pop()?);
                    self.set_items(&[key, value])?;
                }
                b'u' => {
                    let items = self.since_mark()?;
                    self.set_items(&items)?;
                }
                b'q' | b'r' | 0x94 | b'h' | b'j' => self.remember(instruction)?,
                b'c' | 0x93 => self.global(instruction)?,
                b'Q' => self.persistent()?,
                b'R' | 0x81 => self.apply()?,
                b'b' => self.build()?,
                other => return Err(self.unknown(other)),
            }
        }
    }

    fn unknown(&self, instruction: u8) -> String {
        let place = self.at - 1;
        match instruction {
            b'o' | b'i' | 0x92 => format!("it would make an object of a Python class (byte {place}), not a tensor"),
            0x82..=0x84 => format!("it uses Python's extension registry (byte {place})"),
            b'B' | b'C' | 0x8e | 0x96..=0x98 => format!("it holds raw bytes (byte {place}), not a tensor"),
            0x8f..=0x91 => format!("it holds a Python set (byte {place})"),
            _ => format!("it is no pickle that torch writes: the instruction {instruction:#04x} at byte {place}"),
        }
    }

    fn take(&mut self, count: usize) -> Step<&[u8]> {
        let end = self.at.checked_add(count).filter(|&end| end <= self.bytes.len());
        let end = end.ok_or_else(|| format!("it ends within its pickle, after {} bytes", self.bytes.len()))?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    /// A whole number of up to eight bytes, little endian.
    fn unsigned(&mut self, size: usize) -> Step<u64> {
        let mut bytes = [0; 8];
        bytes[..size].copy_from_slice(self.take(size)?);
        Ok(u64::from_le_bytes(bytes))
    }

    fn line(&mut self) -> Step<String> {
        let rest = &self.bytes[self.at..];
        let end = rest.iter().take(4096).position(|&b| b == b'\n').ok_or("it ends within a name of its pickle")?;
        let text = String::from_utf8(rest[..end].to_vec()).map_err(|_| "a name of its pickle is not UTF-8")?;
        self.at += end + 1;
        Ok(text)
    }

    fn push(&mut self, node: Node) {
        self.nodes.push(node);
        self.stack.push(self.nodes.len() - 1);
    }

    fn pop(&mut self) -> Step<NodeId> {
        self.stack.pop().ok_or_else(|| "its pickle takes a value that is not there".into())
    }

    fn top(&self) -> Step<NodeId> {
        self.stack.last().copied().ok_or_else(|| "its pickle takes a value that is not there".into())
    }

    fn since_mark(&mut self) -> Step<Vec<NodeId>> {
        let mark = self.stack.iter().rposition(|&id| matches!(self.nodes[id], Node::Mark));
        let mark = mark.ok_or("its pickle closes what it did not open")?;
        let items = self.stack.split_off(mark + 1);
        self.stack.pop();
        Ok(items)
    }

    fn protocol(&mut self) -> Step {
        match self.take(1)?[0] {
            2..=5 => Ok(()),
            other => Err(format!("its pickle has the protocol {other}; torch writes 2")),
        }
    }

    fn number(&mut self, instruction: u8) -> Step {
        let node = match instruction {
            b'J' => Node::Whole(i64::from(self.unsigned(4)? as u32 as i32)),
            b'K' => Node::Whole(self.unsigned(1)? as i64),
            b'M' => Node::Whole(self.unsigned(2)? as i64),
            b'G' => {
                let mut bytes = [0; 8];
                bytes.copy_from_slice(self.take(8)?);
                Node::Real(f64::from_be_bytes(bytes))
            }
            _ => {
                let size = self.unsigned(if instruction == 0x8a { 1 } else { 4 })? as usize;
                let bytes = self.take(size)?;
                // Longer ones occur as magic numbers only; their low end tells them apart.
                let mut wide = [if bytes.last().is_some_and(|b| b & 0x80 != 0) { 0xff } else { 0 }; 8];
                let kept = size.min(8);
                wide[..kept].copy_from_slice(&bytes[..kept]);
                Node::Whole(i64::from_le_bytes(wide))
            }
        };
        self.push(node);
        Ok(())
    }

    fn text(&mut self, instruction: u8) -> Step {
        let size = self.unsigned(match instruction {
            0x8c => 1,
            b'X' => 4,
            _ => 8,
        })?;
        let size = usize::try_from(size).map_err(|_| "a text of its pickle is longer than memory")?;
        let text = String::from_utf8(self.take(size)?.to_vec()).map_err(|_| "a text of its pickle is not UTF-8")?;
        self.push(Node::Text(text));
        Ok(())
    }

    fn tuple(&mut self, instruction: u8) -> Step {
        let items = match instruction {
            b't' => self.since_mark()?,
            b')' => Vec::new(),
            _ => {
                let count = usize::from(instruction - 0x84);
                let from = self.stack.len().checked_sub(count).ok_or("its pickle takes a value that is not there")?;
                self.stack.split_off(from)
            }
        };
        self.push(Node::Tuple(items));
        Ok(())
    }

    fn append(&mut self, items: &[NodeId]) -> Step {
        let list = self.top()?;
        match &mut self.nodes[list] {
            Node::List(known) => {
                known.extend(items);
                Ok(())
            }
            _ => Err("its pickle adds an item to something that is no list".into()),
        }
    }

    fn set_items(&mut self, items: &[NodeId]) -> Step {
        let dict = self.top()?;
        match &mut self.nodes[dict] {
            Node::Dict(known) if items.len() % 2 == 0 => {
                known.extend(items.chunks_exact(2).map(|pair| (pair[0], pair[1])));
                Ok(())
            }
            _ => Err("its pickle sets a key of something that is no dict".into()),
        }
    }

    fn remember(&mut self, instruction: u8) -> Step {
        let place = match instruction {
            b'q' | b'h' => self.unsigned(1)?,
            b'r' | b'j' => self.unsigned(4)?,
            _ => self.memo.len() as u64,
        };
        if matches!(instruction, b'h' | b'j') {
            let id = *self.memo.get(&place).ok_or("its pickle recalls what it did not remember")?;
            self.stack.push(id);
        } else {
            self.memo.insert(place, self.top()?);
        }
        Ok(())
    }

    fn global(&mut self, instruction: u8) -> Step {
        let (module, name) = if instruction == b'c' {
            (self.line()?, self.line()?)
        } else {
            let (name, module) = (self.pop()?, self.pop()?);
            match (&self.nodes[module], &self.nodes[name]) {
                (Node::Text(module), Node::Text(name)) => (module.clone(), name.clone()),
                _ => return Err("a name of its pickle is no text".into()),
            }
        };
        let global = Global::of(&module, &name)
            .ok_or_else(|| format!("this file would run `{module}.{name}`; xd reads files that make tensors only"))?;
        self.push(Node::Global(global));
        Ok(())
    }

    /// `("storage", torch.FloatStorage, key, device, length)`.
    fn persistent(&mut self) -> Step {
        let id = self.pop()?;
        let wrong = || "a storage of its pickle is not described as torch does".to_string();
        let Node::Tuple(parts) = &self.nodes[id] else { return Err(wrong()) };
        let &[word, storage, key, _, length, ..] = &parts[..] else { return Err(wrong()) };
        if let Some(view) = parts.get(5)
            && self.nodes[*view] != Node::None
        {
            return Err(
                "it holds views of storages as torch before 0.4 wrote them; save it again with a newer torch".into()
            );
        }
        let node = match (&self.nodes[word], &self.nodes[storage], &self.nodes[key], &self.nodes[length]) {
            (Node::Text(word), Node::Global(storage), Node::Text(key), Node::Whole(length)) if word == "storage" => {
                let dtype = match storage {
                    Global::Storage(dtype) => *dtype,
                    Global::UntypedStorage => Dtype::U8,
                    _ => return Err(wrong()),
                };
                let length = u64::try_from(*length).map_err(|_| wrong())?;
                Node::Storage { key: key.clone(), dtype, length }
            }
            _ => return Err(wrong()),
        };
        self.push(node);
        Ok(())
    }

    fn apply(&mut self) -> Step {
        let (arguments, function) = (self.pop()?, self.pop()?);
        let Node::Global(function) = self.nodes[function] else {
            return Err("its pickle calls something that is no function".into());
        };
        let Node::Tuple(arguments) = self.nodes[arguments].clone() else {
            return Err("its pickle calls a function without arguments".into());
        };
        match function {
            Global::Tensor | Global::TensorOfType => {
                let tensor = self.tensor(&arguments, function == Global::TensorOfType)?;
                self.push(Node::Tensor(tensor));
            }
            Global::Parameter => {
                let tensor = *arguments.first().ok_or("its pickle makes a parameter of nothing")?;
                self.stack.push(tensor);
            }
            Global::OrderedDict => self.ordered_dict(&arguments)?,
            Global::Size => match arguments.first().map(|&id| self.nodes[id].clone()) {
                Some(node @ (Node::Tuple(_) | Node::List(_))) => self.push(node),
                _ => return Err("a size of its pickle is no tuple".into()),
            },
            Global::Device => self.push(Node::None),
            Global::Storage(_) | Global::UntypedStorage | Global::Type(_) => {
                return Err("its pickle makes a storage by itself, which torch does not write".into());
            }
        }
        Ok(())
    }

    fn ordered_dict(&mut self, arguments: &[NodeId]) -> Step {
        let mut items = Vec::new();
        if let Some(&first) = arguments.first() {
            let Node::List(pairs) = &self.nodes[first] else {
                return Err("its pickle makes a dict of something that is no list".into());
            };
            for &pair in pairs {
                match &self.nodes[pair] {
                    Node::Tuple(pair) | Node::List(pair) if pair.len() == 2 => items.push((pair[0], pair[1])),
                    _ => return Err("its pickle makes a dict of something that is no pair".into()),
                }
            }
        }
        self.push(Node::Dict(items));
        Ok(())
    }

    fn tensor(&self, arguments: &[NodeId], typed: bool) -> Step<TensorView> {
        let wrong = || "a tensor of its pickle is not described as torch does".to_string();
        let &[storage, offset, shape, strides, ..] = arguments else { return Err(wrong()) };
        let Node::Storage { key, dtype, .. } = &self.nodes[storage] else { return Err(wrong()) };
        let dtype = match arguments.get(6).filter(|_| typed).map(|&id| &self.nodes[id]) {
            Some(Node::Global(Global::Type(dtype))) => *dtype,
            None if !typed => *dtype,
            _ => return Err(wrong()),
        };
        let whole = |id: NodeId| match self.nodes[id] {
            Node::Whole(value) => u64::try_from(value).map_err(|_| wrong()),
            _ => Err(wrong()),
        };
        let wholes = |id: NodeId| match &self.nodes[id] {
            Node::Tuple(items) | Node::List(items) if items.len() <= MOST_DIMENSIONS => {
                items.iter().map(|&id| whole(id)).collect::<Step<Vec<u64>>>()
            }
            _ => Err(wrong()),
        };
        let (shape, strides) = (wholes(shape)?, wholes(strides)?);
        if shape.len() != strides.len() {
            return Err(wrong());
        }
        Ok(TensorView { storage: key.clone(), dtype, offset: whole(offset)?, shape, strides })
    }

    /// Attributes: torch puts the versions of modules on a state dict; they change no number.
    fn build(&mut self) -> Step {
        self.pop()?;
        match self.nodes[self.top()?] {
            Node::Dict(_) | Node::Tensor(_) => Ok(()),
            _ => Err("its pickle sets attributes of something that is no dict".into()),
        }
    }
}
