/** Puts a {@link VerbReader} beside the parser of a connection. */

import type { Parser, Result } from './parser.ts'
import { VerbReader } from './verb-reader.ts'

/** By a callback that Node takes off the parser when the connection ends. */
const readers = new WeakMap<object, VerbReader>()
const adapted = new WeakSet<Parser>()

/** The reader of the connection for which the parser works now, if it is one that we follow. */
function readerBeside(parser: Parser): VerbReader | undefined {
  return readers.get(parser[parser.constructor.kOnMessageBegin] as object)
}

/** Follows a connection of which the parser has not yet read a byte. */
export function follow(parser: Parser): void {
  const { kOnMessageBegin, kOnExecute } = parser.constructor
  // By us, or by another copy of this package.
  if (parser[kOnMessageBegin]) return
  if (!adapted.has(parser)) adapt(parser)
  const { onIncoming } = parser
  const onExecute = parser[kOnExecute] as (result: Result) => void
  const reader = new VerbReader(parser)
  const began = () => reader.began()
  readers.set(began, reader)
  // These three are taken off again by Node when the connection ends.
  parser[kOnMessageBegin] = began
  parser.onIncoming = (request, keepAlive) => {
    reader.announced(request)
    return onIncoming(request, keepAlive)
  }
  parser[kOnExecute] = (result: Result) => {
    try {
      onExecute(reader.read(result))
    } finally {
      reader.chunk = undefined
    }
  }
}

/**
 * Once for each parser, because Node does not take these off: they stay while it works for others, clients among them,
 * and so must do for those what they replace, and hold nothing of any.
 */
function adapt(parser: Parser): void {
  adapted.add(parser)
  const { kOnBody } = parser.constructor
  const onBody = parser[kOnBody] as (piece: Uint8Array) => unknown
  const { execute, finish, getCurrentBuffer } = parser
  parser[kOnBody] = (piece: Uint8Array) => {
    readerBeside(parser)?.got(piece)
    return onBody.call(parser, piece)
  }
  parser.execute = (chunk) => {
    const result = execute.call(parser, chunk)
    return readerBeside(parser)?.read(result, chunk) ?? result
  }
  parser.finish = () => readerBeside(parser)?.refusal ?? finish.call(parser)
  parser.getCurrentBuffer = () => readerBeside(parser)?.chunk ?? getCurrentBuffer.call(parser)
}
