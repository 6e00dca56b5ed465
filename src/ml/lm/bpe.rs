//! A byte-level BPE tokenizer trained on a text, with the marks of a chat from the start.

use std::collections::HashSet;
use std::path::Path;

use tokenizers::decoders::byte_level::ByteLevel as ByteLevelDecoder;
use tokenizers::models::bpe::{BPE, BpeTrainerBuilder};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{AddedToken, TokenizerImpl};

use super::save::write_file;
use crate::ml::{Error, Result};

/// Special tokens; the id is the index.
const SPECIAL: [&str; 5] = ["<pad>", "<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>"];
pub(super) const PAD: u32 = 0;
pub(super) const BOS: u32 = 1;
pub(super) const EOS: u32 = 2;

/// Gemma's template: turns between marks, the assistant is called `model`.
const CHAT_TEMPLATE: &str = "{{ bos_token }}{% for m in messages %}{{ '<start_of_turn>' + ('model' if m['role'] == 'assistant' else m['role']) + '\n' + m['content'] | trim + '<end_of_turn>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}\n";

/// Trains on `texts` and writes `tokenizer.json`, `tokenizer_config.json` and `chat_template.jinja` into `folder`.
/// The order of the texts does not matter.
pub(super) fn train_tokenizer(texts: Vec<String>, vocabulary: usize, folder: &Path) -> Result<()> {
    if vocabulary < SPECIAL.len() + 256 {
        let problem =
            format!("a vocabulary of {vocabulary}: the bytes and special tokens alone are {}", SPECIAL.len() + 256);
        return Err(Error::invalid("train tokenizer", problem));
    }
    let failed = |e: tokenizers::Error| Error::invalid("train tokenizer", e.to_string());
    let special: Vec<AddedToken> = SPECIAL.iter().map(|t| AddedToken::from(*t, true)).collect();
    let alphabet: HashSet<char> = ByteLevel::alphabet().into_iter().collect();
    let mut trainer = BpeTrainerBuilder::new()
        .vocab_size(vocabulary)
        .min_frequency(2)
        .show_progress(false)
        .special_tokens(special.clone())
        .initial_alphabet(alphabet.into_iter().collect())
        .build();
    let bytes = ByteLevel::new(false, true, true);
    let bos = TemplateProcessing::builder()
        .try_single("<bos> $A")
        .and_then(|b| b.try_pair("<bos> $A $B"))
        .map_err(|e| Error::invalid("train tokenizer", e.to_string()))?
        .special_tokens(vec![("<bos>", BOS)])
        .build()
        .map_err(|e| Error::invalid("train tokenizer", e.to_string()))?;
    let mut tokenizer: TokenizerImpl<
        BPE,
        tokenizers::NormalizerWrapper,
        ByteLevel,
        TemplateProcessing,
        ByteLevelDecoder,
    > = TokenizerImpl::new(BPE::default());
    tokenizer.with_pre_tokenizer(Some(bytes)).with_decoder(Some(bytes)).with_post_processor(Some(bos));
    tokenizer.train(&mut trainer, texts.into_iter()).map_err(failed)?;
    let json = tokenizer.to_string(true).map_err(failed)?;
    write_file(&folder.join("tokenizer.json"), json.as_bytes())?;
    let config = serde_json::json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "pad_token": SPECIAL[PAD as usize],
        "bos_token": SPECIAL[BOS as usize],
        "eos_token": SPECIAL[EOS as usize],
    });
    write_file(&folder.join("tokenizer_config.json"), format!("{config:#}\n").as_bytes())?;
    write_file(&folder.join("chat_template.jinja"), CHAT_TEMPLATE.as_bytes())
}
