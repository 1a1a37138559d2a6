/**
 * The words of the protocol as they stand on the wire ([MC-BUP] 2.2). Names are written as Windows and IIS write
 * them; whoever reads them compares without regard to case, because proxies may change it.
 */
export const BitsPost = 'BITS_POST'
export const PacketTypeHeader = 'BITS-Packet-Type'
export const SessionIdHeader = 'BITS-Session-Id'
export const SupportedProtocolsHeader = 'BITS-Supported-Protocols'
export const ProtocolHeader = 'BITS-Protocol'
export const ReceivedContentRangeHeader = 'BITS-Received-Content-Range'
/** In the Ack of the last fragment of an upload-reply; absolute or relative to the destination ([MC-BUP] 2.2.7.2). */
export const ReplyUrlHeader = 'BITS-Reply-URL'
export const HostIdHeader = 'BITS-Host-Id'
export const HostIdFallbackTimeoutHeader = 'BITS-Host-Id-Fallback-Timeout'
/** Of a notification to a server application. The open specification writes `DataEntity`, IIS and win32 this. */
export const OriginalRequestUrlHeader = 'BITS-Original-Request-URL'
export const RequestDataFileNameHeader = 'BITS-Request-DataFile-Name'
export const ResponseDataFileNameHeader = 'BITS-Response-DataFile-Name'
/** Of its answer. */
export const StaticResponseUrlHeader = 'BITS-Static-Response-URL'
export const CopyFileToDestinationHeader = 'BITS-Copy-File-To-Destination'
/** The open specification says `BITS-Error`, the win32 pages `BITS-Error-Code`; both are sent. */
export const ErrorHeaders = ['BITS-Error-Code', 'BITS-Error'] as const
export const ErrorContextHeader = 'BITS-Error-Context'

/** "BITS 1.5 Upload Protocol", the only one there is ([MC-BUP] 1.7.1). */
export const UploadProtocol = '{7df0354d-249b-430f-820d-3d2a9bef4931}'

/** The local name of the uploaded file, for information ([MC-BUP] 2.2.1.1). */
export const ContentNameHeader = 'Content-Name'
export const MaxContentName = 260

/** Windows' own servers cap a header's value at 4 KB ([MC-BUP] 2.2.1, product note 2). */
export const MaxHeaderValue = 4096

/** The longest URL of a reply, and of a server application ([MC-BUP] 2.2.1.2, win32: IIS extension properties). */
export const MaxUrl = 2200

/** Windows' own servers read this many protocols of the client's list (product note 6). */
export const MaxProtocols = 100

/** "Any HTTP-legal string up to 100 characters" (win32: Ack for Create-Session). */
export const MaxSessionId = 100

/** Header fields as `node:http` gives them: names in lower case. */
export type HeaderFields = Readonly<Record<string, string | readonly string[] | undefined>>

/** The names that `field` was asked for, in lower case: every packet is asked for most of them. */
const keys = new Map<string, string>()

/**
 * One field's value; fields that came more than once are joined as HTTP says.
 * @param name one that stands in the code, in any case: not one that a client sent, for it is remembered
 */
export function field(headers: HeaderFields, name: string): string | undefined {
  return joined(headers[keys.get(name) ?? remember(name)])
}

function remember(name: string): string {
  const key = name.toLowerCase()
  keys.set(name, key)
  return key
}

/** A field's value as one, as HTTP says. */
export const joined = (value: HeaderFields[string]): string | undefined =>
  typeof value === 'object' ? value.join(', ') : value
