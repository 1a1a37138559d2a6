/**
 * Names and limits of the protocol ([MC-BUP] 2.2). Names are written as Windows and IIS write them.
 * Comparisons must ignore the letter case, because proxies may change it.
 */
export const BitsPost = 'BITS_POST'
export const PacketTypeHeader = 'BITS-Packet-Type'
export const SessionIdHeader = 'BITS-Session-Id'
export const SupportedProtocolsHeader = 'BITS-Supported-Protocols'
export const ProtocolHeader = 'BITS-Protocol'
export const ReceivedContentRangeHeader = 'BITS-Received-Content-Range'
/** In the Ack for the last fragment; absolute or relative to the destination ([MC-BUP] 2.2.7.2). */
export const ReplyUrlHeader = 'BITS-Reply-URL'
export const HostIdHeader = 'BITS-Host-Id'
export const HostIdFallbackTimeoutHeader = 'BITS-Host-Id-Fallback-Timeout'
/**
 * In a notification to a server application. [MC-BUP] writes `DataEntity`, IIS and win32 write `DataFile`.
 */
export const OriginalRequestUrlHeader = 'BITS-Original-Request-URL'
export const RequestDataFileNameHeader = 'BITS-Request-DataFile-Name'
export const ResponseDataFileNameHeader = 'BITS-Response-DataFile-Name'
/** In the answer to a notification. */
export const StaticResponseUrlHeader = 'BITS-Static-Response-URL'
export const CopyFileToDestinationHeader = 'BITS-Copy-File-To-Destination'
/** [MC-BUP] specifies `BITS-Error`, the win32 pages `BITS-Error-Code`; both are sent. */
export const ErrorHeaders = ['BITS-Error-Code', 'BITS-Error'] as const
export const ErrorContextHeader = 'BITS-Error-Context'

/** "BITS 1.5 Upload Protocol", the only version ([MC-BUP] 1.7.1). */
export const UploadProtocol = '{7df0354d-249b-430f-820d-3d2a9bef4931}'

/** The local name of the uploaded file, for information ([MC-BUP] 2.2.1.1). */
export const ContentNameHeader = 'Content-Name'
export const MaxContentName = 260

/** Windows servers limit a header value to 4 KB ([MC-BUP] 2.2.1, product note 2). */
export const MaxHeaderValue = 4096

/** Longest URL of a reply or server application ([MC-BUP] 2.2.1.2, win32: IIS extension properties). */
export const MaxUrl = 2200

/** Windows servers read this many protocols from the client's list (product note 6). */
export const MaxProtocols = 100

/** "Any HTTP-legal string up to 100 characters" (win32: Ack for Create-Session). */
export const MaxSessionId = 100

/** Header fields as in `node:http`: names in lower case. */
export type HeaderFields = Readonly<Record<string, string | readonly string[] | undefined>>

/** Lower-case forms of the names passed to `field`, cached because every packet needs most of them. */
const lowerCaseNames = new Map<string, string>()

/**
 * The value of one field; a field that occurs several times is joined with commas, as HTTP specifies.
 * @param name a constant name in any letter case; never a name sent by a client, because it is cached
 */
export function field(headers: HeaderFields, name: string): string | undefined {
  return joinValues(headers[lowerCaseNames.get(name) ?? cacheLowerCase(name)])
}

function cacheLowerCase(name: string): string {
  const lowerCaseName = name.toLowerCase()
  lowerCaseNames.set(name, lowerCaseName)
  return lowerCaseName
}

/** The values of a field joined to one, as HTTP specifies. */
export const joinValues = (value: HeaderFields[string]): string | undefined =>
  typeof value === 'object' ? value.join(', ') : value
