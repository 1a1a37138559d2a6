/** Attaches a {@link MethodTranslator} to the parser of a connection. */

import { MethodTranslator } from './method-translator.ts'
import type { ParseError, Parser, Result } from './node-parser.ts'

/** Keyed by a callback that Node removes from the parser when the connection ends. */
const translators = new WeakMap<object, MethodTranslator>()
const patched = new WeakSet<Parser>()

/** The translator of the connection that the parser reads now, if that connection is hooked. */
function translatorOf(parser: Parser): MethodTranslator | undefined {
  return translators.get(parser[parser.constructor.kOnMessageBegin] as object)
}

/** Hooks the parser of a connection of which it has not read a byte yet. */
export function hookParser(parser: Parser): void {
  const { kOnMessageBegin, kOnExecute } = parser.constructor
  // Already hooked by this module, or by another copy of this package.
  if (parser[kOnMessageBegin]) return
  if (!patched.has(parser)) patchParser(parser)
  const { onIncoming } = parser
  const onExecute = parser[kOnExecute] as (result: Result) => void
  const translator = new MethodTranslator(parser)
  const onMessageBegin = () => translator.onMessageBegin()
  translators.set(onMessageBegin, translator)
  // Node removes these three when the connection ends.
  parser[kOnMessageBegin] = onMessageBegin
  parser.onIncoming = (request, keepAlive) => {
    translator.onHeadComplete(request)
    return onIncoming(request, keepAlive)
  }
  parser[kOnExecute] = (result: Result) => {
    try {
      onExecute(translator.read(result))
    } finally {
      translator.dropChunk()
    }
  }
}

/**
 * Replaces methods of a parser, once, because Node does not restore them. They stay while the parser reads
 * other connections, including those of clients. So for those they must do what the originals do, and must
 * not reference any connection. All parsers share the same functions, because a server may have thousands of
 * parsers.
 */
function patchParser(parser: Parser): void {
  patched.add(parser)
  const { kOnBody, prototype } = parser.constructor
  const { execute, finish, getCurrentBuffer } = parser
  const hasOtherMethods =
    execute !== prototype.execute ||
    finish !== prototype.finish ||
    getCurrentBuffer !== prototype.getCurrentBuffer
  if (hasOtherMethods) originalMethods.set(parser, { execute, finish, getCurrentBuffer })
  parser[kOnBody] = patchedOnBody(parser[kOnBody] as OnBody)
  parser.execute = patchedExecute
  parser.finish = patchedFinish
  parser.getCurrentBuffer = patchedGetCurrentBuffer
}

/** Previous methods of a parser that another copy of this package had replaced. */
const originalMethods = new WeakMap<Parser, Pick<Parser, 'execute' | 'finish' | 'getCurrentBuffer'>>()
const originalOf = (parser: Parser) => originalMethods.get(parser) ?? parser.constructor.prototype

type OnBody = (this: Parser, piece: Uint8Array) => unknown

/** The patched `kOnBody` callbacks by the original one, which is one function for all parsers of Node. */
const patchedOnBodies = new WeakMap<OnBody, OnBody>()

function patchedOnBody(onBody: OnBody): OnBody {
  const existing = patchedOnBodies.get(onBody)
  if (existing) return existing
  const patchedCallback: OnBody = function (piece) {
    translatorOf(this)?.onBodyBytes(piece)
    return onBody.call(this, piece)
  }
  patchedOnBodies.set(onBody, patchedCallback)
  return patchedCallback
}

function patchedExecute(this: Parser, chunk: Uint8Array): Result {
  const result = originalOf(this).execute.call(this, chunk)
  return translatorOf(this)?.read(result, chunk) ?? result
}

function patchedFinish(this: Parser): ParseError | undefined {
  return translatorOf(this)?.pendingError ?? originalOf(this).finish.call(this)
}

function patchedGetCurrentBuffer(this: Parser): Uint8Array {
  return translatorOf(this)?.shareChunk() ?? originalOf(this).getCurrentBuffer.call(this)
}
