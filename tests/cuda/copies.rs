//! What the scorer has of the encoder follows it: at each step it is what would be made anew.

use std::sync::{Arc, Mutex};

use xd::ml::crosscoder::*;
use xd::ml::cuda::{Arg, Array, Gpu};

use crate::counting::Counting;
use crate::emulator::{both_orders, emulator};
use crate::rows::{bits, config, rows, top};

/// A copy of an encoder `[D, W]`, by the places of both: its arguments when it was made as a whole.
#[derive(Clone)]
struct Copy {
    kernel: &'static str,
    grid: [u32; 2],
    args: Vec<Arg>,
    /// Bytes of what is written, by argument.
    bytes: Vec<(usize, usize)>,
}

fn place(arg: &Arg) -> u64 {
    match arg {
        Arg::Place(place) => *place,
        other => panic!("{other:?} is no place"),
    }
}

impl Copy {
    /// Of an encoder with so many latents, if this call makes one of it.
    fn made_by(kernel: &'static str, grid: [u32; 2], args: &[Arg], latents: usize, row: usize) -> Option<Self> {
        let numbers = latents * row;
        let bytes = match kernel {
            "measure_rows" if grid[0] as usize == latents => vec![(2, 2 * numbers), (3, 8 * latents)],
            "round_numbers" if matches!(args[1], Arg::U64(n) if n as usize == numbers) => {
                vec![(3, 4 * numbers), (4, 2 * numbers)]
            }
            _ => return None,
        };
        let bytes = bytes.into_iter().filter(|&(arg, _)| place(&args[arg]) != 0).collect();
        Some(Copy { kernel, grid, args: args.to_vec(), bytes })
    }

    /// Makes it again elsewhere and compares every byte.
    fn is_fresh(&self, gpu: &dyn Gpu) -> bool {
        let mut args = self.args.clone();
        let places: Vec<u64> = self.bytes.iter().map(|&(_, bytes)| gpu.allocate(bytes).unwrap()).collect();
        for (&(arg, _), &place) in self.bytes.iter().zip(&places) {
            args[arg] = Arg::Place(place);
        }
        gpu.launch(self.kernel, self.grid, &args).unwrap();
        let read = |place: u64, bytes: usize| {
            let mut read = vec![0u8; bytes];
            gpu.download(place, &mut read).unwrap();
            read
        };
        let compared = self.bytes.iter().zip(&places).map(|(&(arg, bytes), &new)| {
            let same = read(place(&self.args[arg]), bytes) == read(new, bytes);
            gpu.release(new, bytes);
            same
        });
        compared.collect::<Vec<_>>().into_iter().all(|same| same)
    }
}

/// The copies that were made, and how often one was compared before it was read.
#[derive(Default)]
struct Seen {
    copy: Option<Copy>,
    made: usize,
    compared: usize,
}

/// A GPU that compares the copy of the encoder each time that scores are made of it.
fn watched(gpu: Arc<dyn Gpu>, latents: usize, row: usize) -> (Arc<Counting>, Arc<Mutex<Seen>>) {
    let seen = Arc::new(Mutex::new(Seen::default()));
    let noted = seen.clone();
    let counting = Counting::before(gpu, move |gpu, kernel, grid, args| {
        let mut seen = noted.lock().unwrap();
        if let Some(copy) = Copy::made_by(kernel, grid, args, latents, row) {
            seen.copy = Some(copy);
            seen.made += 1;
            return;
        }
        let Some(copy) = seen.copy.clone() else { return };
        let is_read = match copy.kernel {
            "measure_rows" => kernel == "bound_rows",
            _ => kernel == "product" && copy.bytes.iter().any(|&(arg, _)| place(&copy.args[arg]) == place(&args[0])),
        };
        if is_read {
            seen.compared += 1;
            assert!(copy.is_fresh(gpu), "the copy is not that of the encoder, at its use {}", seen.compared);
        }
    });
    (counting, seen)
}

/// A training whose scores need a copy.
struct Case {
    name: &'static str,
    config: TrainerConfig,
    width: usize,
    in_f32: bool,
    /// Times that the copy is made as a whole.
    made: usize,
}

fn cases() -> Vec<Case> {
    let lively = TopK { dead_after: 40, threshold_from: 2, ..top(4) };
    let plain = config(150, Loss::BatchTopK(lively));
    let case = |name, config: &TrainerConfig| Case { name, config: config.clone(), width: 20, in_f32: false, made: 1 };
    let mut resampled = config(150, Loss::TopK(lively));
    resampled.train.resample = Some(4);
    let mut sae = config(150, Loss::BatchTopK(TopK { norm: CodeNorm::None, ..lively }));
    sae.variant = Variant::Sae(Target::Difference);
    sae.init.norm = Some(1.0);
    let mut wide = config(70, Loss::BatchTopK(top(3)));
    wide.train.batch = 9;
    let mut cases = vec![
        case("BatchTopK with AuxK and clip", &plain),
        Case { made: 3, ..case("TopK with resampling", &resampled) },
        case("an autoencoder", &sae),
        Case { in_f32: true, ..case("near scores in f32", &plain) },
        Case { width: 801, ..case("rows of two spans", &wide) },
    ];
    for precision in [Precision::Tf32, Precision::Bf16] {
        let mut narrow = plain.clone();
        narrow.train.precision = precision;
        cases.push(case("numbers that are rounded", &narrow));
    }
    cases
}

#[test]
fn the_copy_of_the_encoder_follows_every_step_and_is_made_anew_only_after_a_resampling_and_a_resume() {
    let steps = 9;
    for case in cases() {
        let Some(gpu) = emulator(false) else { return };
        let Case { name, config, width, in_f32, made } = case;
        let row = config.variant.row(width);
        let batch = config.train.batch as usize;
        let (counting, seen) = watched(gpu, config.latents, row);
        let on = |trainer: Trainer| {
            let trainer = trainer.on(&counting.gpu()).unwrap();
            if in_f32 { trainer.in_f32() } else { trainer }
        };
        let batches: Vec<Vec<f32>> =
            rows(steps * batch, width, 11).chunks(batch * 2 * width).map(<[f32]>::to_vec).collect();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint.safetensors");
        let mut whole = on(Trainer::new(config.clone(), width, None).unwrap());
        for (step, batch) in batches.iter().enumerate() {
            if step == 6 {
                whole.checkpoint(&path).unwrap();
            }
            whole.step(batch).unwrap();
        }
        let found = |seen: &Mutex<Seen>| {
            let seen = seen.lock().unwrap();
            (seen.made, seen.compared)
        };
        assert_eq!(found(&seen), (made, steps), "{name}: copies made and compared");
        let mut resumed = on(Trainer::resume(config.clone(), width, &path).unwrap());
        for batch in &batches[6..] {
            resumed.step(batch).unwrap();
        }
        let again = usize::from(made > 1);
        assert_eq!(found(&seen), (made + 1 + again, steps + 3), "{name}, resumed");
        assert_eq!(bits(&resumed.finish().unwrap()), bits(&whole.finish().unwrap()), "{name}");
    }
}

#[test]
#[should_panic(expected = "the copy is not that of the encoder, at its use 2")]
fn a_copy_that_is_off_by_a_bit_is_noticed() {
    let gpu = emulator(false).expect("the copy is not that of the encoder, at its use 2: no emulator to tell");
    let Case { config, width, .. } = cases().swap_remove(0);
    let (counting, seen) = watched(gpu, config.latents, 2 * width);
    let mut trainer = Trainer::new(config, width, None).unwrap().on(&counting.gpu()).unwrap();
    let batch = rows(32, width, 11);
    trainer.step(&batch).unwrap();
    let narrow = place(&seen.lock().unwrap().copy.as_ref().unwrap().args[2]);
    let mut byte = [0u8];
    counting.gpu().download(narrow, &mut byte).unwrap();
    counting.gpu().upload(narrow, &[byte[0] ^ 1]).unwrap();
    trainer.step(&batch).unwrap();
}

/// Entries whose latents come in slices have the gradients of one slice.
#[test]
fn gradients_of_entries_are_the_same_in_slices_of_any_size() {
    for gpu in both_orders() {
        let (count, latents, width) = (3usize, 50u32, 37usize);
        let numbers = |count: usize, by: usize| (0..count).map(|i| ((i * by) % 23) as f32 - 11.5).collect::<Vec<_>>();
        let of: Vec<u32> = (0..count as u32).flat_map(|row| (row..latents).step_by(row as usize + 1)).collect();
        let mut offsets = vec![0u32];
        for row in 0..count as u32 {
            offsets.push(offsets[row as usize] + (row..latents).step_by(row as usize + 1).count() as u32);
        }
        assert_eq!(offsets[count] as usize, of.len());
        let (upstream, decoder) = (numbers(count * width, 7), numbers(latents as usize * width, 5));
        let expected: Vec<f32> = (0..of.len())
            .map(|t| {
                let row = offsets.iter().rposition(|&offset| offset as usize <= t).unwrap();
                let (flow, vector) = (&upstream[row * width..][..width], &decoder[of[t] as usize * width..][..width]);
                flow.iter().zip(vector).map(|(a, b)| a * b).sum()
            })
            .collect();
        let ints = |values: &[u32]| Array::of(&gpu, values).unwrap();
        let floats = |values: &[f32]| Array::of(&gpu, values).unwrap();
        let (offsets, of, upstream, decoder) = (ints(&offsets), ints(&of), floats(&upstream), floats(&decoder));
        for slice in [1, 7, 16, 49, 50, 1000] {
            let out = floats(&vec![f32::NAN; expected.len()]);
            let args = [offsets.arg(), of.arg(), upstream.arg(), decoder.arg()];
            let args = [&args[..], &[Arg::U32(width as u32), Arg::U32(slice), out.arg()]].concat();
            gpu.launch("entry_gradients", [count as u32, latents.div_ceil(slice)], &args).unwrap();
            // Halves and quarters: every sum is exact in any order.
            assert_eq!(out.get().unwrap(), expected, "{slice}");
        }
    }
}
